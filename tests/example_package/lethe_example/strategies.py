"""A strategy: a function whose keyword arguments are its knobs, each with a default and a range."""

from torch import Tensor

from trainables.cohorts.cohort import IGNORED
from trainables.losses import cross_entropy
from trainables.mechanics.knobs import Weight
from trainables.mechanics.step import Step
from trainables.mechanics.strategy import Strategy


def to_background(pull: Weight = 0.5) -> Strategy:
    """Cross-entropy of the forget batch against nothing but background, cross-entropy + Dice on the retain batch.

    Args:
        pull: weight of the forget term.
    """

    def forget(step: Step) -> Tensor:
        labels = step.forget.labels
        return cross_entropy(step.forget_logits, labels.masked_fill(labels != IGNORED, 0))

    return Strategy(forget=forget, forget_weight=pull)
