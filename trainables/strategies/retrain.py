"""Retraining: fresh weights and the retain subjects alone, which is exact and what every other recipe must beat."""

from trainables.mechanics.strategy import Strategy
from trainables.strategies.shrink_perturb import shrink_perturb


def retrain() -> Strategy:
    """Cross-entropy + Dice on the retain batch, from weights that the trial's seed draws."""
    return shrink_perturb(a=0.0)
