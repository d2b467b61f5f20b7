"""Any combination of the mechanics: what the forget batch is taught, what the retain batch, which weights move.

The five published strategies (arXiv 2402.00351, 2606.16180) are five of its combinations.
"""

import math

from trainables.mechanics import features, labels, scopes
from trainables.mechanics.ranges import Fraction, Positive, Weight
from trainables.mechanics.step import Term
from trainables.mechanics.strategy import Strategy

FORGET_LABELS = ("noisy_labels", "retain_labels", "ascent")
FORGET_FEATURES = ("random_features", "noise_image", "retain_features", "feature_ascent")
RETAIN = {"segment": labels.segment_retain, "features": features.match_retain}
MOVES = {"all": scopes.EVERYTHING, "encoder": scopes.ENCODER, "decoder": scopes.DECODER}


def mechanics(
    forget: str = "noisy_labels",
    retain: str = "segment",
    moves: str = "",
    forget_weight: Weight = 1.0,
    noise_rate: Fraction = 1.0,
    ceiling: Positive = math.inf,
    image: str = "normal",
    resample: bool = False,
) -> Strategy:
    """The strategy that these choices make.

    Args:
        forget: what the forget batch is taught: `noisy_labels`, `retain_labels`, `ascent` (on the output), or
            `random_features`, `noise_image`, `retain_features`, `feature_ascent` (on the encoder's features).
        retain: what the retain batch is taught: `segment` (its labels) or `features` (the baseline's).
        moves: `all`, `encoder` or `decoder`; by default everything that the two terms reach. A term on features
            moves the encoder alone.
        forget_weight: weight of the forget term, > 0.
        noise_rate: of `noisy_labels`, [0, 1].
        ceiling: of `ascent` and `feature_ascent`; infinite for no bound.
        image: of `noise_image`: normal, uniform or constant.
        resample: draw anew in every epoch instead of once per trial.

    Raises:
        ValueError: for a word that is not one of these, or a combination that is not legal.
    """
    on_features = forget in FORGET_FEATURES or retain == "features"
    moves = moves or ("encoder" if on_features else "all")
    choices = {
        "forget": (forget, (*FORGET_LABELS, *FORGET_FEATURES)),
        "retain": (retain, (*RETAIN,)),
        "moves": (moves, (*MOVES,)),
        "image": (image, features.NOISE_IMAGES),
    }
    problems = [
        f"{name} must be one of {', '.join(legal)}, but got {word!r}"
        for name, (word, legal) in choices.items()
        if word not in legal
    ]
    if on_features and moves != "encoder":
        problems.append(f"a term on features moves the encoder alone, but got moves={moves!r}")
    if problems:
        raise ValueError("; ".join(problems))
    term = _forget_term(forget, noise_rate, ceiling, image, resample)
    return Strategy(RETAIN[retain], term, forget_weight, MOVES[moves])


def _forget_term(forget: str, noise_rate: float, ceiling: float, image: str, resample: bool) -> Term:
    terms = {
        "noisy_labels": lambda: labels.noisy_labels(noise_rate, resample),
        "retain_labels": lambda: labels.retain_labels(resample),
        "ascent": lambda: labels.ascent(ceiling),
        "random_features": lambda: features.random_features(resample),
        "noise_image": lambda: features.noise_image_features(image, resample),
        "retain_features": lambda: features.retain_features(resample),
        "feature_ascent": lambda: features.feature_ascent(ceiling),
    }
    return terms[forget]()
