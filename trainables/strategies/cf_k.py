"""CF-k: the last k stages are fine-tuned on the retain subjects; the others stay.

Source: Goel et al. 2022, "Towards Adversarial Evaluations for Inexact Machine Unlearning", arXiv 2201.06640.
"""

from trainables.mechanics.knobs import Stages
from trainables.mechanics.scopes import last_stages
from trainables.mechanics.strategy import Strategy


def cf_k(k: Stages = 2) -> Strategy:
    """Cross-entropy + Dice on the retain batch, the last stages moving."""
    return Strategy(moves=last_stages(k))
