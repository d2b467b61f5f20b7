"""Fine-tuning on the retain subjects: forgetting by what is not rehearsed.

The usual first baseline (Golatkar et al. 2020, arXiv 1911.04933; Warnecke et al. 2023, arXiv 2108.11577).
"""

from trainables.mechanics.strategy import Strategy


def finetune() -> Strategy:
    """Cross-entropy + Dice on the retain batch; the forget subjects are not looked at."""
    return Strategy()
