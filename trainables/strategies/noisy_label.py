"""Noisy Label (arXiv 2402.00351, 2606.16180): the forget subjects are taught random labels."""

from trainables.mechanics.labels import noisy_labels
from trainables.mechanics.ranges import Fraction, Weight
from trainables.mechanics.strategy import Strategy


def noisy_label(noise_rate: Fraction = 1.0, forget_weight: Weight = 1.0, resample: bool = False) -> Strategy:
    """Cross-entropy against noisy labels on the forget batch, cross-entropy + Dice on the retain batch.

    Args:
        noise_rate: fraction of a forget subject's voxels that are redrawn uniformly over the classes, [0, 1].
        forget_weight: weight of the forget term, > 0.
        resample: draw the noise anew in every epoch instead of once per trial.
    """
    return Strategy(forget=noisy_labels(noise_rate, resample), forget_weight=forget_weight)
