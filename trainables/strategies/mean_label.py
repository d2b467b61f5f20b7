"""Mean label: the forget subjects are taught what the retain subjects have on average, which is nobody's own."""

from trainables.mechanics import teachers
from trainables.mechanics.knobs import ForgetWeight
from trainables.mechanics.strategy import Strategy


def mean_label(forget_weight: ForgetWeight = 1.0) -> Strategy:
    """Divergence from the mean label map on the forget batch, cross-entropy + Dice on the retain batch."""
    return Strategy(forget=teachers.mean_label, forget_weight=forget_weight)
