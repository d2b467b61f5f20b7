"""Retain Label, or learn others (arXiv 2402.00351, 2606.16180): the forget subjects are taught others' labels."""

from trainables.mechanics.knobs import ForgetWeight, Resample
from trainables.mechanics.labels import retain_labels
from trainables.mechanics.strategy import Strategy


def retain_label(forget_weight: ForgetWeight = 1.0, resample: Resample = "never") -> Strategy:
    """Cross-entropy + Dice on both batches, the forget batch's labels being those of retain subjects."""
    return Strategy(forget=retain_labels(resample), forget_weight=forget_weight)
