"""What a strategy computes from: the setting of a trial, one step's batches and what the network gives for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainables.mechanics.baseline import Baseline
from trainables.mechanics.knobs import Resample
from trainables.med3d import SegmentationNetwork, upsample
from trainables.seeds import seed_for
from trainables.views import View, as_is


@dataclass(frozen=True)
class Batch:
    """Scans of one set: B indices into the cohort, images (B, 1, D, H, W) float32 and labels (B, D, H, W) uint8.

    Each scan's image and labels are seen through its view; so must be whatever else it is taught.
    """

    scans: list[int]
    images: Tensor
    labels: Tensor
    views: list[View]

    @property
    def moved(self) -> bool:
        """Whether a scan is seen otherwise than it is, so that what was kept of it does not hold."""
        return any(view is not as_is for view in self.views)


@dataclass(frozen=True)
class Setting:
    """What stays the same through a trial.

    Attributes:
        network: being changed.
        baseline: the network before unlearning, frozen.
        images, labels: (N, D, H, W) float32 and uint8, the cohort's; never written to.
        retain, forget: indices of scans.
        classes: C, the background included.
        seed: the trial's.
    """

    network: SegmentationNetwork
    baseline: Baseline
    images: Tensor
    labels: Tensor
    retain: Sequence[int]
    forget: Sequence[int]
    classes: int
    seed: int

    @cached_property
    def mean_labels(self) -> Tensor:
        """(C, D, H, W) float32: the fraction of the retain scans with each class, of those whose voxel counts."""
        classes = torch.arange(self.classes, device=self.labels.device)[:, None, None, None]
        counts = torch.zeros(self.classes, *self.labels.shape[1:], device=self.labels.device)
        for scan in self.retain:
            counts += self.labels[scan] == classes
        return counts / counts.sum(0).clamp(min=1)

    def batch(self, scans: Sequence[int], views: Sequence[View] = ()) -> Batch:
        """These scans, copied from the cohort, each through its view if there are any."""
        scans = list(scans)
        images, labels = self.images[scans], self.labels[scans]
        for place, view in enumerate(views):
            images[place], labels[place] = view(images[[place]])[0], view(labels[[place]])[0]
        return Batch(scans, images.unsqueeze(1), labels, list(views) or [as_is] * len(scans))


@dataclass
class Step:
    """One optimisation step: a retain and a forget batch, and what the network gives for them in one pass.

    A batch may be empty. `epoch` and, within it, `number` count from 1.
    """

    setting: Setting
    retain: Batch
    forget: Batch
    epoch: int
    number: int

    @cached_property
    def features(self) -> Tensor:
        """(B retain + B forget, E, D/8, H/8, W/8): the encoder's, both batches in one forward pass."""
        return self.setting.network.encoder(torch.cat([self.retain.images, self.forget.images]))

    @cached_property
    def logits(self) -> Tensor:
        """(B retain + B forget, C, D, H, W): from `features`; a strategy on features alone never asks for it."""
        return upsample(self.setting.network.decoder(self.features), self.setting.images.shape[1:])

    @property
    def retain_features(self) -> Tensor:
        """(B retain, E, D/8, H/8, W/8)."""
        return self.features[: len(self.retain.scans)]

    @property
    def forget_features(self) -> Tensor:
        """(B forget, E, D/8, H/8, W/8)."""
        return self.features[len(self.retain.scans) :]

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


Draw = Callable[[Setting, int, int, View], Tensor]
"""What is drawn for a forget scan with a seed, as the scan's view shows it."""


def drawn_per_scan(draw: Draw, purpose: str, resample: Resample) -> Callable[[Step], Tensor]:
    """A function of a step that gives what is drawn for each of its forget scans, stacked: (B forget, ...).

    The draw's seed depends on the trial's, the purpose and the scan, and on the epoch or the step if it is drawn anew
    in each.
    """
    kept: dict[int, tuple[tuple[int, View], Tensor]] = {}

    def of_scan(step: Step, scan: int, view: View) -> Tensor:
        when = {"never": 0, "epoch": step.epoch, "step": f"{step.epoch}/{step.number}"}[resample]
        seed = seed_for(step.setting.seed, f"{purpose}/{scan}/{when}")
        if scan not in kept or kept[scan][0] != (seed, view):
            kept[scan] = (seed, view), draw(step.setting, scan, seed, view)
        return kept[scan][1]

    return lambda step: torch.stack(
        [of_scan(step, scan, view) for scan, view in zip(step.forget.scans, step.forget.views, strict=True)]
    )
