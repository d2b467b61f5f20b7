"""An exported state dict in a MedicalNet written from its description, key by key and Dice by Dice."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from trainables.med3d import load_state, med3d, medicalnet_layout, upsample

spec = importlib.util.spec_from_file_location("medicalnet", Path(__file__).parents[1] / "medicalnet.py")
medicalnet = importlib.util.module_from_spec(spec)
spec.loader.exec_module(medicalnet)


@pytest.fixture(scope="module", params=medicalnet.BLOCKS)
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


@pytest.mark.slow
def test_medicalnet_loads_an_export_strictly_and_segments_the_same(used, tmp_path):
    depth, network = used
    state = {f"module.{name}": value for name, value in medicalnet_layout(network.state_dict()).items()}
    torch.save({"state_dict": state}, tmp_path / "model.pth")
    theirs = nn.DataParallel(medicalnet.MedicalNet(depth, 3)).eval()  # MedicalNet's own code wraps its network so
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
    assert result == ()
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())
