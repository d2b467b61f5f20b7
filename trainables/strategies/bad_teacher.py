"""Bad Teacher: the forget subjects follow a network of random weights, the retain subjects the baseline.

Source: Chundawat et al. 2023, "Can Bad Teaching Induce Forgetting?", arXiv 2205.08096.
"""

from trainables.mechanics.knobs import ForgetWeight, Temperature
from trainables.mechanics.strategy import Strategy
from trainables.mechanics.teachers import follow_baseline, follow_incompetent


def bad_teacher(forget_weight: ForgetWeight = 1.0, temperature: Temperature = 1.0) -> Strategy:
    """KL(baseline || student) on the retain batch, KL(random weights || student) on the forget batch."""
    return Strategy(follow_baseline(temperature), follow_incompetent(temperature), forget_weight)
