"""Selective Synaptic Dampening: shrink the weights that matter more to the forget subjects; nothing is trained.

Source: Foster et al. 2024, arXiv 2308.07707, equations 5 and 6.
"""

import torch

from trainables.mechanics.gradients import gradients
from trainables.mechanics.knobs import Positive
from trainables.mechanics.step import Setting
from trainables.mechanics.strategy import Strategy


def ssd(selection: Positive = 10.0, dampening: Positive = 1.0) -> Strategy:
    """Multiply each weight whose importance to the forget subjects is `selection` times that to all, or more.

    Importance is the diagonal of the empirical Fisher information, one scan a batch. The recipe's settings play
    no part but `epochs`, after each of which the same network is evaluated: use one.

    Args:
        selection: alpha; published: 10. No ratio exceeds the number of all scans over that of the forget scans,
            so a small cohort needs less.
        dampening: lambda: the factor is lambda * importance to all / importance to the forget subjects, at most 1;
            published: 1.
    """

    def dampen(setting: Setting) -> None:
        forget = gradients(setting, setting.forget, power=2)
        everyone = gradients(setting, [*setting.retain, *setting.forget], power=2)
        with torch.no_grad():
            for name, weights in setting.network.named_parameters():
                dominated = forget[name] > selection * everyone[name]
                factor = (dampening * everyone[name] / forget[name]).clamp(max=1)
                weights.mul_(torch.where(dominated, factor, 1))

    return Strategy(retain=None, prepare=dampen)
