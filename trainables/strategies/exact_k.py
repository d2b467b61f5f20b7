"""EU-k: the last k stages forget everything and learn again from the retain subjects; the others stay.

Source: Goel et al. 2022, "Towards Adversarial Evaluations for Inexact Machine Unlearning", arXiv 2201.06640.
"""

from trainables.mechanics.knobs import Stages
from trainables.mechanics.scopes import last_stages
from trainables.mechanics.step import Setting
from trainables.mechanics.strategy import Strategy
from trainables.med3d import initialise
from trainables.seeds import seed_for


def exact_k(k: Stages = 2) -> Strategy:
    """Cross-entropy + Dice on the retain batch, from re-initialised last stages."""

    def forget_all(setting: Setting) -> None:
        for path in last_stages(k):
            initialise(setting.network.get_submodule(path), seed_for(setting.seed, f"initial {path}"))

    return Strategy(moves=last_stages(k), prepare=forget_all)
