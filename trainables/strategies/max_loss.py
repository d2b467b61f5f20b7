"""Max Loss (arXiv 2402.00351, 2606.16180): gradient ascent on the forget subjects."""

import math

from trainables.mechanics.knobs import Ceiling, ForgetWeight
from trainables.mechanics.labels import ascent
from trainables.mechanics.strategy import Strategy


def max_loss(forget_weight: ForgetWeight = 0.1, ceiling: Ceiling = math.inf) -> Strategy:
    """Minus the cross-entropy of the forget batch (at chance log C), cross-entropy + Dice on the retain batch."""
    return Strategy(forget=ascent(ceiling), forget_weight=forget_weight)
