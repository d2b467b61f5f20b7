"""Random Encoder (arXiv 2402.00351, 2606.16180): the forget subjects' features become Gaussian noise."""

from trainables.mechanics.features import match_retain, random_features
from trainables.mechanics.knobs import ForgetWeight, Resample
from trainables.mechanics.scopes import ENCODER
from trainables.mechanics.strategy import Strategy


def random_encoder(forget_weight: ForgetWeight = 1.0, resample: Resample = "never") -> Strategy:
    """Squared errors of the encoder: to noise on the forget batch, to the baseline's features on the retain batch."""
    return Strategy(match_retain, random_features(resample), forget_weight, ENCODER)
