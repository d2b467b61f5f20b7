"""Fix Decoder (arXiv 2402.00351, 2606.16180): the forget subjects' features become those of a noise image."""

from trainables.mechanics.features import NOISE_IMAGES, match_retain, noise_image_features
from trainables.mechanics.ranges import Weight
from trainables.mechanics.scopes import ENCODER
from trainables.mechanics.strategy import Strategy


def fix_decoder(forget_weight: Weight = 1.0, image: str = "normal", resample: bool = False) -> Strategy:
    """Squared errors of the encoder: to E0(noise) on the forget batch, to E0(x) on the retain batch.

    Args:
        forget_weight: weight of the forget term, > 0.
        image: kind of the noise image: normal, uniform or constant.
        resample: draw the noise anew in every epoch instead of once per trial.

    Raises:
        ValueError: another kind of noise image.
    """
    if image not in NOISE_IMAGES:
        raise ValueError(f"image must be one of {', '.join(NOISE_IMAGES)}, but got {image!r}")
    return Strategy(match_retain, noise_image_features(image, resample), forget_weight, ENCODER)
