"""A tiny network, a toy cohort, and one CPU thread: there results repeat bit for bit."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from trainables.cohorts.cohort import IGNORED
from trainables.data import TrialData, scans
from trainables.mechanics.baseline import Baseline
from trainables.mechanics.step import Setting, Step
from trainables.med3d import SegmentationNetwork, med3d


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
def rounding() -> SegmentationNetwork:
    """A network that predicts, all but surely, the class nearest to a voxel's intensity: 0, 1 or 2."""
    decoder = nn.Conv3d(1, 3, kernel_size=1)
    with torch.no_grad():
        decoder.weight.copy_(200 * torch.arange(3.0).view(3, 1, 1, 1, 1))
        decoder.bias.copy_(-100 * torch.arange(3.0) ** 2)
    return SegmentationNetwork(nn.Identity(), decoder)


@pytest.fixture(scope="session")
def drawn_med3d() -> SegmentationNetwork:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = med3d(10, classes=3)
        network(torch.randn(2, 1, 32, 32, 32) * 2 + 1)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.1)
        return network


@pytest.fixture
def med3d_10(drawn_med3d: SegmentationNetwork) -> Callable[[], SegmentationNetwork]:
    """Copies one used Med3D network of depth 10 and three classes, which has the stages that strategies name."""
    return lambda: copy.deepcopy(drawn_med3d)


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


@pytest.fixture
def setting(tiny_network: Callable[..., SegmentationNetwork], toy: TrialData) -> Callable[..., Setting]:
    """Builds what stays the same through a trial on the toy cohort; the baseline is a copy of the network."""

    def build(network=None, baseline=None, seed=0, data=toy, folder=None) -> Setting:
        network = network or tiny_network()
        images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
        retain, forget = scans(data.retain), scans(data.forget)
        before = Baseline(baseline or copy.deepcopy(network), images, retain, folder)
        return Setting(network, before, images, labels, retain, forget, data.classes, seed)

    return build


@pytest.fixture
def step(setting: Callable[..., Setting]) -> Callable[..., Step]:
    """Builds a step on the toy cohort."""

    def build(retain=(0, 2), forget=(3,), epoch=1, number=1, view=None, **options) -> Step:
        now = setting(**options)
        batches = (now.batch(scans, [view] * len(scans) if view else ()) for scans in (retain, forget))
        return Step(now, *batches, epoch, number)

    return build
