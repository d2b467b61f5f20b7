"""Fix Decoder (arXiv 2402.00351, 2606.16180): the forget subjects' features become those of a noise image."""

from trainables.mechanics.features import match_retain, noise_image_features
from trainables.mechanics.knobs import ForgetWeight, NoiseImage, Resample
from trainables.mechanics.scopes import ENCODER
from trainables.mechanics.strategy import Strategy


def fix_decoder(
    forget_weight: ForgetWeight = 1.0, image: NoiseImage = "normal", resample: Resample = "never"
) -> Strategy:
    """Squared errors of the encoder: to E0(noise) on the forget batch, to E0(x) on the retain batch."""
    return Strategy(match_retain, noise_image_features(image, resample), forget_weight, ENCODER)
