"""Retain Label, or learn others (arXiv 2402.00351, 2606.16180): the forget subjects are taught others' labels."""

from trainables.mechanics.labels import retain_labels
from trainables.mechanics.ranges import Weight
from trainables.mechanics.strategy import Strategy


def retain_label(forget_weight: Weight = 1.0, resample: bool = False) -> Strategy:
    """Cross-entropy + Dice on both batches, the forget batch's labels being those of retain subjects.

    Args:
        forget_weight: weight of the forget term, > 0.
        resample: pair forget with retain scans anew in every epoch instead of once per trial.
    """
    return Strategy(forget=retain_labels(resample), forget_weight=forget_weight)
