"""The network before unlearning, frozen: E0 of the strategies on features, teacher of those that distil."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from trainables.cache_entries import cached, caching
from trainables.device import mixed_precision
from trainables.med3d import SegmentationNetwork, upsample


class Features(NamedTuple):
    """The encoder's (R, E, D/8, H/8, W/8) float32 features of the retain scans in their order, and their moments."""

    values: np.ndarray
    mean: float
    variance: float


class Baseline:
    """What strategies ask of the network before unlearning; computed when first asked for, and once."""

    def __init__(
        self, network: SegmentationNetwork, images: Tensor, retain: Sequence[int], folder: Path | None = None
    ):
        """Freeze the network, which is kept, not copied, in evaluation mode.

        Args:
            images: (N, D, H, W) float32, on the network's device.
            folder: where the processes of a node share the retain features; None keeps them in memory.
        """
        self.network = network.eval().requires_grad_(False)
        self._images, self._rows, self._folder = images, {scan: row for row, scan in enumerate(retain)}, folder
        self._logits: dict[int, Tensor] = {}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 1, D, H, W) images to (B, E, D/8, H/8, W/8) float32 features, with running statistics."""
        with mixed_precision(images.device):
            return self.network.encoder(images).float()

    def features(self, scans: Sequence[int]) -> Tensor:
        """(B, E, D/8, H/8, W/8) of these retain scans."""
        rows = self.retain_features.values[[self._rows[scan] for scan in scans]]
        return torch.from_numpy(rows).to(self._images.device)

    def logits(self, scans: Sequence[int]) -> Tensor:
        """(B, C, D, H, W) float32 of these scans; kept at the network's resolution once computed."""
        for scan in scans:
            if scan not in self._logits:
                self._logits[scan] = frozen_logits(self.network, self._images[scan][None, None])
        return upsample(torch.cat([self._logits[scan] for scan in scans]), self._images.shape[1:])

    @cached_property
    def retain_features(self) -> Features:
        """Features of all retain scans: computed by the node's first process that asks, mapped by the others."""
        if self._folder is None:
            return _with_moments(np.concatenate(list(self._each())))
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._folder}.lock"):
            if not cached(self._folder):
                self._store(self._folder)
        moments = json.loads((self._folder / "moments.json").read_text())
        return Features(np.load(self._folder / "features.npy", mmap_mode="r"), **moments)

    def _store(self, folder: Path) -> None:
        with caching(folder) as temporary:
            first, *_ = self._each(1)
            shape = (len(self._rows), *first.shape[1:])
            values = np.lib.format.open_memmap(temporary / "features.npy", "w+", np.float32, shape)
            for row, features in enumerate(self._each()):
                values[row] = features[0]
            values.flush()
            moments = _with_moments(values)._asdict()
            del moments["values"]
            (temporary / "moments.json").write_text(json.dumps(moments))

    def _each(self, count: int | None = None) -> Iterator[np.ndarray]:
        for scan in list(self._rows)[:count]:
            yield self.encode(self._images[scan][None, None]).cpu().numpy()


@torch.no_grad()
def frozen_logits(network: SegmentationNetwork, images: Tensor) -> Tensor:
    """(B, C, d, h, w) float32 at the network's own resolution, without a gradient."""
    with mixed_precision(images.device):
        return network(images).float()


def _with_moments(values: np.ndarray) -> Features:
    means = [float(scan.mean(dtype=np.float64)) for scan in values]
    squares = [float(np.square(scan, dtype=np.float64).mean()) for scan in values]
    mean = float(np.mean(means))
    return Features(values, mean, float(np.mean(squares)) - mean**2)
