"""Bad Teacher: the forget subjects follow a network of random weights, the retain subjects the baseline.

Source: Chundawat et al. 2023, "Can Bad Teaching Induce Forgetting?", arXiv 2205.08096.
"""

from trainables.mechanics.ranges import Positive, Weight
from trainables.mechanics.strategy import Strategy
from trainables.mechanics.teachers import follow_baseline, follow_incompetent


def bad_teacher(forget_weight: Weight = 1.0, temperature: Positive = 1.0) -> Strategy:
    """KL(competent teacher || student) on the retain batch, KL(incompetent teacher || student) on the forget batch.

    Args:
        forget_weight: weight of the forget term, > 0.
        temperature: of both divergences; published: 1.
    """
    return Strategy(follow_baseline(temperature), follow_incompetent(temperature), forget_weight)
