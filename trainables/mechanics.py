"""The parts that strategies are made of: what a step offers, and the terms computed from it (docs/science.md)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainables.cohorts.cohort import IGNORED
from trainables.losses import cross_entropy, segmentation_loss
from trainables.med3d import SegmentationNetwork, upsample
from trainables.seeds import seed_for


@dataclass(frozen=True)
class Batch:
    """Scans of one set.

    Attributes:
        scans: B indices into the cohort.
        images: (B, 1, D, H, W) float32.
        labels: (B, D, H, W) uint8, classes 0..C-1 and `IGNORED`.
    """

    scans: list[int]
    images: Tensor
    labels: Tensor


@dataclass
class Step:
    """One optimisation step: the network, a retain and a forget batch, and what they give in one forward pass.

    Attributes:
        classes: C, the background included.
        seed: the trial's.
        epoch: from 1.
    """

    network: SegmentationNetwork
    retain: Batch
    forget: Batch
    classes: int
    seed: int
    epoch: int

    @cached_property
    def logits(self) -> Tensor:
        """(B retain + B forget, C, D, H, W): both batches in one forward pass."""
        images = torch.cat([self.retain.images, self.forget.images])
        return upsample(self.network(images), images.shape[2:])

    @property
    def retain_logits(self) -> Tensor:
        """(B retain, C, D, H, W)."""
        return self.logits[: len(self.retain.scans)]

    @property
    def forget_logits(self) -> Tensor:
        """(B forget, C, D, H, W)."""
        return self.logits[len(self.retain.scans) :]


Term = Callable[[Step], Tensor]
"""A scalar loss of a step."""


@dataclass(frozen=True)
class Strategy:
    """What the retain batch is taught, what the forget batch is taught, and how much the latter weighs.

    The loss of a step is retain + forget_weight * forget. Without a forget term the strategy is plain training.
    """

    retain: Term
    forget: Term | None = None
    forget_weight: float = 1.0


def segment_retain(step: Step) -> Tensor:
    """Cross-entropy + soft Dice of the retain batch against its own labels."""
    return segmentation_loss(step.retain_logits, step.retain.labels)


def noisy_labels(noise_rate: float, resample: bool) -> Term:
    """Cross-entropy of the forget batch against labels of which a fraction is redrawn uniformly over the classes.

    Args:
        noise_rate: fraction of the voxels that are redrawn, in [0, 1].
        resample: draw anew in every epoch instead of once per trial.
    """
    drawn: dict[int, tuple[int, Tensor]] = {}

    def labels_of(step: Step, row: int) -> Tensor:
        scan = step.forget.scans[row]
        seed = seed_for(step.seed, f"noise/{scan}/{step.epoch if resample else 0}")
        if drawn.get(scan, (None,))[0] != seed:
            drawn[scan] = seed, corrupt(step.forget.labels[row], step.classes, noise_rate, seed)
        return drawn[scan][1]

    def term(step: Step) -> Tensor:
        labels = torch.stack([labels_of(step, row) for row in range(len(step.forget.scans))])
        return cross_entropy(step.forget_logits, labels)

    return term


def corrupt(labels: Tensor, classes: int, noise_rate: float, seed: int) -> Tensor:
    """The label map with a fraction of its voxels redrawn uniformly over the classes; `IGNORED` ones stay.

    A redrawn voxel may get its own class again, so a fraction `noise_rate * (1 - 1 / classes)` changes.

    Args:
        labels: (D, H, W) uint8.
        classes: C, the background included.
        noise_rate: in [0, 1].
        seed: of the draw, which is the same on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    redrawn = torch.rand(labels.shape, generator=generator) < noise_rate
    noise = torch.randint(classes, labels.shape, generator=generator, dtype=labels.dtype)
    redrawn, noise = redrawn.to(labels.device), noise.to(labels.device)
    return torch.where(redrawn & (labels != IGNORED), noise, labels)
