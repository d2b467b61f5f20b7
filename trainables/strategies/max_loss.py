"""Max Loss (arXiv 2402.00351, 2606.16180): gradient ascent on the forget subjects."""

import math

from trainables.mechanics.labels import ascent
from trainables.mechanics.ranges import Positive, Weight
from trainables.mechanics.strategy import Strategy


def max_loss(forget_weight: Weight = 0.1, ceiling: Positive = math.inf) -> Strategy:
    """Minus the cross-entropy of the forget batch, cross-entropy + Dice on the retain batch.

    Args:
        forget_weight: weight of the forget term, > 0.
        ceiling: cross-entropy (nats a voxel) at which the ascent ends; infinite for no bound. Chance is log C.
    """
    return Strategy(forget=ascent(ceiling), forget_weight=forget_weight)
