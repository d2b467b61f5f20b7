"""Terms on labels: what the network's output is taught.

What is drawn is drawn once per trial or, as `resample` says, anew in every epoch or step, and moves with its scan.
"""

import torch
from torch import Tensor

from trainables.cohorts.cohort import IGNORED
from trainables.losses import cross_entropy, segmentation_loss
from trainables.mechanics.knobs import Noise, Resample
from trainables.mechanics.step import Setting, Step, Term, drawn_per_scan
from trainables.views import View


def segment_retain(step: Step) -> Tensor:
    """Cross-entropy + soft Dice of the retain batch against its own labels."""
    return segmentation_loss(step.retain_logits, step.retain.labels)


def noisy_labels(noise_rate: float, resample: Resample, noise: Noise = "uniform") -> Term:
    """Cross-entropy of the forget batch against labels of which a fraction is redrawn (see `corrupt`)."""

    def draw(setting: Setting, scan: int, seed: int, view: View) -> Tensor:
        return view(corrupt(setting.labels[[scan]], setting.classes, noise_rate, seed, noise))[0]

    labels = drawn_per_scan(draw, "noise", resample)
    return lambda step: cross_entropy(step.forget_logits, labels(step))


def retain_labels(resample: Resample) -> Term:
    """Cross-entropy + soft Dice of the forget batch against the label maps of retain scans paired with its own."""

    def draw(setting: Setting, scan: int, seed: int, view: View) -> Tensor:
        return view(setting.labels[[paired(setting, seed)]])[0]

    labels = drawn_per_scan(draw, "pair", resample)
    return lambda step: segmentation_loss(step.forget_logits, labels(step))


def ascent(ceiling: float) -> Term:
    """Minus the cross-entropy (nats a voxel, up to the ceiling) of the forget batch: gradient ascent."""
    return lambda step: -cross_entropy(step.forget_logits, step.forget.labels).clamp(max=ceiling)


def segmentation_ascent(step: Step) -> Tensor:
    """Minus cross-entropy + soft Dice of the forget batch against its own labels."""
    return -segmentation_loss(step.forget_logits, step.forget.labels)


def paired(setting: Setting, seed: int) -> int:
    """The retain scan that this seed draws."""
    place = torch.randint(len(setting.retain), (), generator=torch.Generator().manual_seed(seed))
    return setting.retain[int(place)]


def corrupt(labels: Tensor, classes: int, noise_rate: float, seed: int, noise: Noise = "uniform") -> Tensor:
    """The label map with a fraction of its voxels redrawn; `IGNORED` ones stay.

    A redrawn voxel may get its own class again: with `uniform` noise `noise_rate * (1 - 1 / classes)` of them change.
    `gaussian` noise, as in the code of arXiv 2402.00351, is a normal variable of the mean and standard deviation of
    the map's class numbers, rounded: where most is background, so is the noise.

    The draw is the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    redrawn = (torch.rand(labels.shape, generator=generator) < noise_rate).to(labels.device)
    if noise == "gaussian":
        numbers = labels[labels != IGNORED].float()
        normal = torch.randn(labels.shape, generator=generator).to(labels.device)
        drawn = (numbers.mean() + numbers.std() * normal).round().clamp(0, classes - 1).to(labels.dtype)
    else:
        drawn = torch.randint(classes, labels.shape, generator=generator, dtype=labels.dtype).to(labels.device)
    return torch.where(redrawn & (labels != IGNORED), drawn, labels)
