"""Terms of distillation: the student's class probabilities beside a teacher's, voxel by voxel."""

import copy

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from trainables.cohorts.cohort import IGNORED
from trainables.mechanics.baseline import frozen_logits
from trainables.mechanics.step import Setting, Step, Term, drawn_per_scan
from trainables.med3d import initialise, upsample
from trainables.seeds import seed_for


def follow_baseline(temperature: float = 1.0) -> Term:
    """Divergence of the retain batch's probabilities from the baseline's."""

    def term(step: Step) -> Tensor:
        teacher = step.setting.baseline.logits(step.retain.scans)
        return divergence(teacher, step.retain_logits, step.retain.labels, temperature)

    return term


def leave_baseline(temperature: float = 1.0) -> Term:
    """Minus the divergence of the forget batch's probabilities from the baseline's."""

    def term(step: Step) -> Tensor:
        teacher = step.setting.baseline.logits(step.forget.scans)
        return -divergence(teacher, step.forget_logits, step.forget.labels, temperature)

    return term


def follow_incompetent(temperature: float = 1.0) -> Term:
    """Divergence of the forget batch's probabilities from those of a network of random weights."""

    def draw(setting: Setting, scan: int, seed: int) -> Tensor:
        network = copy.deepcopy(setting.baseline.network)
        initialise(network, seed_for(setting.seed, "incompetent teacher"))
        return frozen_logits(network, setting.images[scan][None, None])[0]

    logits = drawn_per_scan(draw, "teacher", resample=False)

    def term(step: Step) -> Tensor:
        teacher = upsample(logits(step), step.setting.images.shape[1:])
        return divergence(teacher, step.forget_logits, step.forget.labels, temperature)

    return term


def divergence(teacher: Tensor, student: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over the voxels that count of KL(teacher || student), in nats, times the temperature's square.

    Args:
        teacher, student: (B, C, D, H, W) logits.
        labels: (B, D, H, W), of which only `IGNORED` matters.
        temperature: divides both logits; its square keeps the gradient's scale (Hinton et al., arXiv 1503.02531).
    """
    p, q = (log_softmax(logits.float() / temperature, dim=1) for logits in (teacher, student))
    counts = labels != IGNORED
    by_voxel = (p.exp() * (p - q)).sum(1)
    return torch.where(counts, by_voxel, 0).sum() / counts.sum() * temperature**2
