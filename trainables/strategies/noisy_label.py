"""Noisy Label (arXiv 2402.00351, 2606.16180): the forget subjects are taught random labels."""

from trainables.mechanics.knobs import ForgetWeight, Noise, NoiseRate, Resample
from trainables.mechanics.labels import noisy_labels
from trainables.mechanics.strategy import Strategy


def noisy_label(
    noise_rate: NoiseRate = 1.0,
    forget_weight: ForgetWeight = 1.0,
    resample: Resample = "never",
    noise: Noise = "uniform",
) -> Strategy:
    """Cross-entropy against noisy labels on the forget batch, cross-entropy + Dice on the retain batch."""
    return Strategy(forget=noisy_labels(noise_rate, resample, noise), forget_weight=forget_weight)
