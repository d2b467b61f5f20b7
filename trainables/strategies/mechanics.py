"""Any combination of the mechanics: what the forget batch is taught, what the retain batch, which weights move.

The five published strategies (arXiv 2402.00351, 2606.16180) are five of its combinations.
"""

import math
from typing import Literal, get_args

from trainables.mechanics import features, labels, scopes, teachers
from trainables.mechanics.knobs import Ceiling, ForgetWeight, Level, Noise, NoiseImage, NoiseRate, Resample
from trainables.mechanics.strategy import Strategy

Labels = Literal["noisy_labels", "retain_labels", "ascent", "mean_label", "loss_level"]
Features = Literal["random_features", "noise_image", "retain_features", "feature_ascent"]
RETAIN = {"segment": labels.segment_retain, "features": features.match_retain}
MOVES = {"all": scopes.EVERYTHING, "encoder": scopes.ENCODER, "decoder": scopes.DECODER}


def mechanics(
    forget: Literal[Labels, Features] = "noisy_labels",
    retain: Literal["segment", "features"] = "segment",
    moves: Literal["", "all", "encoder", "decoder"] = "",
    forget_weight: ForgetWeight = 1.0,
    noise_rate: NoiseRate = 1.0,
    ceiling: Ceiling = math.inf,
    image: NoiseImage = "normal",
    resample: Resample = "never",
    noise: Noise = "uniform",
    level: Level = 0.05,
) -> Strategy:
    """The strategy that these choices make.

    Args:
        forget: what the forget batch is taught, on the output or on the encoder's features.
        retain: what the retain batch is taught: `segment` (its labels) or `features` (the baseline's).
        moves: by default everything that the two terms reach. A term on features moves the encoder alone.

    Raises:
        ValueError: for a combination that is not legal.
    """
    on_features = forget in get_args(Features) or retain == "features"
    moves = moves or ("encoder" if on_features else "all")
    if on_features and moves != "encoder":
        raise ValueError(f"a term on features moves the encoder alone, but got {moves=}")
    terms = {
        "noisy_labels": lambda: labels.noisy_labels(noise_rate, resample, noise),
        "retain_labels": lambda: labels.retain_labels(resample),
        "ascent": lambda: labels.ascent(ceiling),
        "mean_label": lambda: teachers.mean_label,
        "loss_level": lambda: teachers.loss_level(level),
        "random_features": lambda: features.random_features(resample),
        "noise_image": lambda: features.noise_image_features(image, resample),
        "retain_features": lambda: features.retain_features(resample),
        "feature_ascent": lambda: features.feature_ascent(ceiling),
    }
    return Strategy(RETAIN[retain], terms[forget](), forget_weight, MOVES[moves])
