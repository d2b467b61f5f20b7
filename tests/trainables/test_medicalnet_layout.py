"""An exported state dict in a MedicalNet written here from its description, key by key and Dice by Dice."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainables.med3d import load_state, med3d, medicalnet_layout, upsample

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


def convolution(before, after, kernel, stride=1, dilation=1):
    padding = dilation if kernel == 3 else 0
    return nn.Conv3d(before, after, kernel, stride, padding, dilation, bias=False)


class Block(nn.Module):
    """A residual block; depth 50 has bottlenecks, depth 18 a shortcut without weights."""

    def __init__(self, before, inner, stride, dilation, depth):
        super().__init__()
        after = inner * 4 if depth == 50 else inner
        kernels = [(before, inner, 1), (inner, inner, 3), (inner, after, 1)]
        if depth != 50:
            kernels = [(before, inner, 3), (inner, after, 3)]
        strided = 1 if depth == 50 else 0
        self.count, self.stride, self.after = len(kernels), stride, after
        for number, (i, o, kernel) in enumerate(kernels):
            conv = convolution(i, o, kernel, stride if number == strided else 1, dilation if kernel == 3 else 1)
            self.add_module(f"conv{number + 1}", conv)
            self.add_module(f"bn{number + 1}", nn.BatchNorm3d(o))
        if (stride, before) != (1, after) and depth != 18:
            self.downsample = nn.Sequential(convolution(before, after, 1, stride), nn.BatchNorm3d(after))

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y if number == self.count else F.relu(y)
        if hasattr(self, "downsample"):
            x = self.downsample(x)
        else:
            x = x[..., :: self.stride, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, 0, 0, 0, self.after - x.shape[1]))
        return F.relu(x + y)


class MedicalNet(nn.Module):
    def __init__(self, depth, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(1, 64, 7, 2, 3, bias=False), nn.BatchNorm3d(64)
        channels = 64
        for number, (blocks, stride, dilation) in enumerate(
            zip(BLOCKS[depth], (1, 2, 1, 1), (1, 1, 2, 4), strict=True)
        ):
            layer = nn.Sequential()
            for place in range(blocks):
                block = Block(channels, 64 * 2**number, stride if place == 0 else 1, dilation, depth)
                channels = block.after
                layer.append(block)
            self.add_module(f"layer{number + 1}", layer)
        self.conv_seg = nn.Sequential(
            *(nn.ConvTranspose3d(channels, 32, 2, 2), nn.BatchNorm3d(32), nn.ReLU(), convolution(32, 32, 3)),
            *(nn.BatchNorm3d(32), nn.ReLU(), convolution(32, classes, 1)),
        )

    def forward(self, x):
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.conv_seg(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


@pytest.fixture(scope="module", params=BLOCKS)
def used(request):
    """A depth and a network of it whose BatchNorms have seen something."""
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = med3d(request.param, classes=3)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = None  # the running statistics are those of the one batch
        network(torch.randn(2, 1, 24, 32, 40))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(std=0.1)
        return request.param, network.eval()


def dice(predicted, truth):
    both = [(predicted == one, truth == one) for one in (1, 2)]
    return sum(2 * (p & t).sum().item() / (p.sum() + t.sum()).item() for p, t in both) / 2


def test_medicalnet_loads_an_export_strictly_and_segments_the_same(used, tmp_path):
    depth, network = used
    state = {f"module.{name}": value for name, value in medicalnet_layout(network.state_dict()).items()}
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    theirs = nn.DataParallel(MedicalNet(depth, 3)).eval()  # MedicalNet's own code wraps its network so
    theirs.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True)["state_dict"], strict=True)
    torch.manual_seed(1)
    for size in ((24, 32, 40), (17, 30, 24)):
        scan = torch.randn(1, 1, *size)
        with torch.no_grad():
            ours, other = (upsample(net(scan), size).argmax(1) for net in (network, theirs.module))
        truth = torch.where(torch.rand(ours.shape) < 0.3, torch.randint(3, ours.shape), ours)
        assert len(ours.unique()) == 3
        assert 0.3 < dice(ours, truth) < 0.95
        assert dice(other, truth) == pytest.approx(dice(ours, truth), abs=1e-4)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_layout_loads_back_as_it_was(med3d_10, prefix):
    network = med3d_10()
    before = network.state_dict()
    state = medicalnet_layout(before)
    assert len(state) == len(before)
    assert {name.partition(".")[0] for name in state} == {
        "conv1",
        "bn1",
        *(f"layer{n}" for n in (1, 2, 3, 4)),
        "conv_seg",
    }
    again = med3d(10, 3)
    result = load_state(again, {prefix + name: value for name, value in state.items()}, "export")
    assert result.missing == ()
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())
