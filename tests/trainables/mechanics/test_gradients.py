"""Gradients of sets of scans against one plain backward pass a scan."""

import copy

import pytest
import torch
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.mechanics.gradients import gradients


@pytest.mark.parametrize("power", [1, 2])
def test_a_mean_over_scans_of_each_scans_gradient_to_a_power(setting, seasoned, power):
    network = seasoned().train()
    now = setting(network)
    other, expected = copy.deepcopy(network).double().eval(), {}
    for scan in (3, 6, 9):
        other.zero_grad()
        logits = F.interpolate(other(now.images[[scan], None].double()), size=(16, 16, 16), mode="trilinear")
        log_p = logits.log_softmax(1)[0]
        counted = now.labels[scan] != IGNORED
        (-sum(log_p[c][now.labels[scan] == c].sum() for c in range(3)) / counted.sum()).backward()
        for name, value in other.named_parameters():
            expected[name] = expected.get(name, 0) + value.grad**power / 3
    found = gradients(now, [3, 6, 9], power)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-3, atol=1e-7)


def test_the_network_stays_as_it_is(setting, seasoned):
    network = seasoned().train()
    before = copy.deepcopy(network.state_dict())
    found = gradients(setting(network), [0, 1], 2)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.grad is None for value in network.parameters())
    assert not any(value.requires_grad for value in found.values())
