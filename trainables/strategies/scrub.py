"""SCRUB: leave the baseline on the forget subjects, follow it on the retain subjects, in turns.

Source: Kurmanji et al. 2023, "Towards Unbounded Machine Unlearning", arXiv 2302.09880, algorithm 1.
"""

from torch import Tensor

from trainables.mechanics.knobs import Count, Temperature, Weight
from trainables.mechanics.labels import segment_retain
from trainables.mechanics.step import Step
from trainables.mechanics.strategy import Strategy
from trainables.mechanics.teachers import follow_baseline, leave_baseline


def scrub(
    alpha: Weight = 0.5,
    gamma: Weight = 0.99,
    max_epochs: Count = 2,
    temperature: Temperature = 1.0,
    rewind: bool = False,
) -> Strategy:
    """Max steps: -KL(baseline || student) on forget batches; min steps: alpha * KL + gamma * loss on retain batches.

    Args:
        alpha: weight of the retain batch's divergence from the baseline; published: 0.5.
        gamma: weight of its segmentation loss; published: 0.99.
        max_epochs: the first epochs, which begin with a pass of max steps; published: 2 to 3.
        temperature: of the divergences; the authors' code uses 2 and 4.
        rewind: SCRUB+R: the result is the epoch whose forget Dice is nearest to what held-out subjects have at the
            end; those are the ones that steer, so `--objective unseen` is needed.
    """
    follow = follow_baseline(temperature)

    def retain(step: Step) -> Tensor:
        return alpha * follow(step) + gamma * segment_retain(step)

    return Strategy(retain, leave_baseline(temperature), forget_epochs=max_epochs, alternate=True, rewind=rewind)
