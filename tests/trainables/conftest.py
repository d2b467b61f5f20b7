"""A tiny network, a toy cohort, and one CPU thread: there results repeat bit for bit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from trainables.cohorts.cohort import IGNORED
from trainables.data import TrialData
from trainables.med3d import SegmentationNetwork


@pytest.fixture(autouse=True)
def one_cpu_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    if not request.node.get_closest_marker("gpu"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny_network() -> Callable[..., SegmentationNetwork]:
    """Builds a network of two convolutions and a BatchNorm whose logits have half the resolution."""

    def build(seed: int = 0, classes: int = 3) -> SegmentationNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first = nn.Conv3d(1, 4, 3, stride=2, padding=1, bias=False)
            return SegmentationNetwork(
                nn.Sequential(first, nn.BatchNorm3d(4), nn.ReLU()), nn.Conv3d(4, classes, kernel_size=1)
            )

    return build


@pytest.fixture
def toy() -> TrialData:
    """Twelve scans of nine subjects, 16 x 16 x 16 voxels, two cuboids each; 7 retain, 3 forget, 2 held-out scans."""
    rng = np.random.default_rng(0)
    labels = np.zeros((12, 16, 16, 16), dtype=np.uint8)
    for volume in labels:
        for value in (1, 2):
            d, h, w = rng.integers(0, 9, 3)
            volume[d : d + 7, h : h + 7, w : w + 7] = value
        volume[tuple(rng.integers(0, 16, (3, 20)))] = IGNORED
    images = np.where(labels == IGNORED, 0, labels) + rng.normal(0, 0.3, labels.shape)
    retain, forget, heldout = ((0, 1), (2,), (4,), (5,), (7, 8)), ((3, 6), (9,)), ((10,), (11,))
    return TrialData(images.astype(np.float32), labels, retain, forget, heldout, classes=3)
