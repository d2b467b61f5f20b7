"""What a strategy computes from: the setting of a trial, one step's batches and what the network gives for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from trainables.mechanics.baseline import Baseline
from trainables.med3d import SegmentationNetwork, upsample
from trainables.seeds import seed_for


@dataclass(frozen=True)
class Batch:
    """Scans of one set: B indices into the cohort, images (B, 1, D, H, W) float32 and labels (B, D, H, W) uint8."""

    scans: list[int]
    images: Tensor
    labels: Tensor


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

    def batch(self, scans: Sequence[int]) -> Batch:
        """These scans, copied from the cohort."""
        scans = list(scans)
        return Batch(scans, self.images[scans].unsqueeze(1), self.labels[scans])


@dataclass
class Step:
    """One optimisation step: a retain and a forget batch, and what the network gives for them in one pass.

    A batch may be empty. `epoch` counts from 1.
    """

    setting: Setting
    retain: Batch
    forget: Batch
    epoch: int

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


Draw = Callable[[Setting, int, int], Tensor]
"""What is drawn for a forget scan with a seed."""


def drawn_per_scan(draw: Draw, purpose: str, resample: bool) -> Callable[[Step], Tensor]:
    """A function of a step that gives what is drawn for each of its forget scans, stacked: (B forget, ...).

    The draw's seed depends on the trial's, the purpose and the scan, and with `resample` on the epoch.
    """
    kept: dict[int, tuple[int, Tensor]] = {}

    def of_scan(step: Step, scan: int) -> Tensor:
        seed = seed_for(step.setting.seed, f"{purpose}/{scan}/{step.epoch if resample else 0}")
        if kept.get(scan, (None,))[0] != seed:
            kept[scan] = seed, draw(step.setting, scan, seed)
        return kept[scan][1]

    return lambda step: torch.stack([of_scan(step, scan) for scan in step.forget.scans])
