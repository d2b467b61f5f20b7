"""Shrink and perturb: part of the baseline's weights, part freshly drawn ones, then the retain subjects alone.

Source: Ash and Adams 2020, "On Warm-Starting Neural Network Training", arXiv 1910.08475, section 4.
"""

import copy

from trainables.mechanics.knobs import Fraction
from trainables.mechanics.step import Setting
from trainables.mechanics.strategy import Strategy
from trainables.med3d import initialise
from trainables.seeds import seed_for


def shrink_perturb(a: Fraction = 0.5) -> Strategy:
    """Cross-entropy + Dice on the retain batch, from a * baseline + (1 - a) * weights that the trial's seed draws.

    BatchNorm's running statistics are mixed likewise, with those of a new network.

    Args:
        a: share of the baseline: 1 is fine-tuning, 0 retraining. The authors' code has a second knob for the share of
            the fresh weights and takes 0.4 and 0.1; here the two add up to 1.
    """

    def mix(setting: Setting) -> None:
        fresh = copy.deepcopy(setting.network)
        initialise(fresh, seed_for(setting.seed, "fresh weights"))
        for value, drawn in zip(setting.network.state_dict().values(), fresh.state_dict().values(), strict=True):
            value.copy_(a * value + (1 - a) * drawn)

    return Strategy(prepare=mix)
