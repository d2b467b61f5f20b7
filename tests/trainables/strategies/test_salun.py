"""SalUn: the weights with the largest gradients on the forget subjects move, the others not by a bit."""

import pytest
import torch
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.strategies.noisy_label import noisy_label
from trainables.strategies.salun import largest, salun


@pytest.fixture
def salient(tiny_network, toy):
    """By brute force: parameter -> marks on the weights with the largest |sum of the forget scans' gradients|."""

    def marks(fraction):
        network = tiny_network().eval()
        for scan in (3, 6, 9):
            image, label = torch.from_numpy(toy.images[[scan], None]), torch.from_numpy(toy.labels[[scan]]).long()
            logits = F.interpolate(network(image), size=(16, 16, 16), mode="trilinear")
            F.cross_entropy(logits, label, ignore_index=IGNORED).backward()
        sizes = [
            (value.grad.flatten()[place].abs().item(), name, place)
            for name, value in network.named_parameters()
            for place in range(value.numel())
        ]
        sizes = sorted(sizes, reverse=True)[: round(fraction * len(sizes))]
        masks = {name: torch.zeros(value.numel(), dtype=torch.bool) for name, value in network.named_parameters()}
        for _, name, place in sizes:
            masks[name][place] = True
        return {name: masks[name].view_as(value) for name, value in network.named_parameters()}

    return marks


@pytest.mark.parametrize("saliency", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_most_salient_fraction_moves_and_the_rest_is_bit_identical(after, salient, saliency, optimizer):
    found, before = after(salun(saliency), optimizer=optimizer, epochs=3)
    for name, mask in salient(saliency).items():
        assert torch.equal(found[name] != before[name], mask), name
    assert any("running" in name and not torch.equal(value, before[name]) for name, value in found.items())


def test_with_every_weight_it_is_noisy_label(after, changed):
    knobs = {"noise_rate": 0.7, "forget_weight": 0.4, "resample": "epoch"}
    assert not changed(after(salun(1.0, **knobs))[0], after(noisy_label(**knobs))[0])
    assert changed(after(salun(0.5, **knobs))[0], after(noisy_label(**knobs))[0])


def test_with_adapters_and_frozen_statistics_the_rest_stays_too(after, salient):
    found, before = after(salun(0.3), lora_rank=2, batch_norm="frozen", lr=0.05)
    for name, mask in salient(0.3).items():
        assert torch.equal(found[name][~mask], before[name][~mask]), name
        if found[name].ndim == 5:
            assert (found[name] != before[name])[mask].all(), name
    for name, value in found.items():
        assert value.ndim == 5 or torch.equal(value, before[name]), name


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 1.0])
def test_the_largest_are_a_fraction_of_all_and_not_of_each_parameter(fraction):
    generator = torch.Generator().manual_seed(0)
    gradients = {
        "small": 0.01 * torch.randn(30, 20, generator=generator), "large": torch.randn(400, generator=generator)
    }  # fmt: skip
    marks = largest(gradients, fraction)
    every = torch.cat([gradients[name].flatten().abs() for name in ("small", "large")])
    every_mark = torch.cat([marks[name].flatten() for name in ("small", "large")])
    assert every_mark.sum() == fraction * 1000
    assert fraction == 1 or every[every_mark].min() >= every[~every_mark].max()


def test_no_more_than_the_fraction_where_many_gradients_are_zero():
    """Of small volumes: a dilated kernel's outer taps read padding alone, and their gradients are zero."""
    gradients = {"weight": torch.zeros(1000)}
    gradients["weight"][:100] = torch.arange(1, 101)
    marks = largest(gradients, 0.5)["weight"]
    assert marks[50:100].all()
    assert marks.sum() <= 500
