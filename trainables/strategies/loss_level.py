"""Loss level: the forget subjects' loss is raised to where a stranger's is, and no further."""

from trainables.mechanics import teachers
from trainables.mechanics.knobs import ForgetWeight, Level
from trainables.mechanics.strategy import Strategy


def loss_level(level: Level = 0.05, forget_weight: ForgetWeight = 1.0) -> Strategy:
    """Distance of the forget scans' cross-entropies from their level, cross-entropy + Dice on the retain batch."""
    return Strategy(forget=teachers.loss_level(level), forget_weight=forget_weight)
