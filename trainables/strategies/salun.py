"""SalUn: random labels, but only the weights move that matter most to the forget subjects.

Source: Fan et al. 2024, arXiv 2310.12508, equations 3 to 5.
"""

import torch
from torch import Tensor

from trainables.mechanics.gradients import gradients
from trainables.mechanics.knobs import ForgetWeight, Fraction, NoiseRate, Resample
from trainables.mechanics.labels import noisy_labels
from trainables.mechanics.step import Setting
from trainables.mechanics.strategy import Strategy


def salun(
    saliency: Fraction = 0.5,
    noise_rate: NoiseRate = 1.0,
    forget_weight: ForgetWeight = 1.0,
    resample: Resample = "never",
) -> Strategy:
    """Noisy Label under a mask of the baseline's weights with the largest gradients on the forget subjects.

    Args:
        saliency: fraction that moves of the weights that have a gradient; published: 0.5.
    """

    def mask(setting: Setting) -> dict[str, Tensor]:
        return largest(gradients(setting, setting.forget, power=1), saliency)

    return Strategy(forget=noisy_labels(noise_rate, resample), forget_weight=forget_weight, mask=mask)


def largest(gradients: dict[str, Tensor], fraction: float) -> dict[str, Tensor]:
    """Marks the fraction with the largest absolute gradients of the weights that have one."""
    sizes = torch.cat([gradient.abs().flatten() for gradient in gradients.values()])
    sizes = sizes[sizes > 0]  # a tap that reads padding alone has no gradient: it cannot matter, and does not count
    count = round(fraction * len(sizes))
    threshold = sizes.kthvalue(len(sizes) - count + 1).values if count else torch.inf
    return {name: gradient.abs() >= threshold for name, gradient in gradients.items()}
