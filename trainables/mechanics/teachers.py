"""Terms of distillation: the student's class probabilities beside a teacher's, voxel by voxel.

A teacher sees what the student sees.
"""

import copy

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from trainables.cohorts.cohort import IGNORED
from trainables.losses import cross_entropy
from trainables.mechanics.baseline import frozen_logits
from trainables.mechanics.step import Batch, Setting, Step, Term, drawn_per_scan
from trainables.med3d import SegmentationNetwork, initialise, upsample
from trainables.seeds import seed_for
from trainables.views import View


def follow_baseline(temperature: float = 1.0) -> Term:
    """Divergence of the retain batch's probabilities from the baseline's."""

    def term(step: Step) -> Tensor:
        teacher = _baseline_logits(step, step.retain)
        return divergence(teacher, step.retain_logits, step.retain.labels, temperature)

    return term


def leave_baseline(temperature: float = 1.0) -> Term:
    """Minus the divergence of the forget batch's probabilities from the baseline's."""

    def term(step: Step) -> Tensor:
        teacher = _baseline_logits(step, step.forget)
        return -divergence(teacher, step.forget_logits, step.forget.labels, temperature)

    return term


def follow_incompetent(temperature: float = 1.0) -> Term:
    """Divergence of the forget batch's probabilities from those of a network of random weights."""
    teachers: dict[int, SegmentationNetwork] = {}

    def draw(setting: Setting, scan: int, seed: int, view: View) -> Tensor:
        if setting.seed not in teachers:
            teachers[setting.seed] = copy.deepcopy(setting.baseline.network)
            initialise(teachers[setting.seed], seed_for(setting.seed, "incompetent teacher"))
        return frozen_logits(teachers[setting.seed], view(setting.images[[scan]])[None])[0]

    logits = drawn_per_scan(draw, "teacher", resample="never")

    def term(step: Step) -> Tensor:
        teacher = upsample(logits(step), step.setting.images.shape[1:])
        return divergence(teacher, step.forget_logits, step.forget.labels, temperature)

    return term


def mean_label(step: Step) -> Tensor:
    """Divergence of the forget batch's probabilities from the retain scans' mean label map, which knows nobody."""
    mean = step.setting.mean_labels
    teacher = torch.stack([view(mean) for view in step.forget.views]).clamp(min=1e-6).log()
    return divergence(teacher, step.forget_logits, step.forget.labels, 1.0)


def loss_level(level: float) -> Term:
    """How far the forget scans' cross-entropies are from `level` nats a voxel above the baseline's own, on average.

    What a network that never saw a scan has there is above what the baseline has; beyond it forgetting shows.
    """

    def term(step: Step) -> Tensor:
        outputs = step.forget_logits, _baseline_logits(step, step.forget)
        now, before = (_cross_entropies(logits, step.forget.labels) for logits in outputs)
        return (now - before - level).abs().mean()

    return term


def _cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,): of each scan."""
    return torch.stack([cross_entropy(*scan) for scan in zip(logits.split(1), labels.split(1), strict=True)])


def _baseline_logits(step: Step, batch: Batch) -> Tensor:
    baseline = step.setting.baseline
    if not batch.moved:
        return baseline.logits(batch.scans)
    return upsample(frozen_logits(baseline.network, batch.images), batch.images.shape[2:])


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
