"""Selective Synaptic Dampening against a Fisher information summed scan by scan."""

import pytest
import torch
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.strategies.ssd import ssd

RETAIN, FORGET = [0, 1, 2, 4, 5, 7, 8], [3, 6, 9]


@pytest.fixture
def importance(toy):
    """The mean over scans of squared gradients of the cross-entropy, in float64."""

    def of(network, scans):
        network = network.double().eval()
        sums = {name: 0 for name, _ in network.named_parameters()}
        for scan in scans:
            network.zero_grad()
            image = torch.from_numpy(toy.images[[scan], None]).double()
            logits = F.interpolate(network(image), size=(16, 16, 16), mode="trilinear")
            label = torch.from_numpy(toy.labels[[scan]]).long()
            F.cross_entropy(logits, label, ignore_index=IGNORED).backward()
            for name, value in network.named_parameters():
                sums[name] = sums[name] + value.grad.square() / len(scans)
        return sums

    return of


@pytest.mark.parametrize(("selection", "dampening"), [(1.0, 1.0), (1.05, 0.3), (1.2, 1.0), (1.2, 3.0), (100, 1.0)])
def test_weights_more_important_to_the_forget_scans_shrink_by_the_ratio(
    after, importance, tiny_network, selection, dampening
):
    found, before = after(ssd(selection, dampening), epochs=1)
    forget, everyone = importance(tiny_network(), FORGET), importance(tiny_network(), RETAIN + FORGET)
    count = 0
    for name, value in before.items():
        if name not in forget:
            assert torch.equal(found[name], value), name
            continue
        chosen = forget[name] > selection * everyone[name]
        count += int(chosen.sum())
        factor = torch.where(chosen, (dampening * everyone[name] / forget[name]).clamp(max=1), 1)
        assert torch.equal(found[name][~chosen], value[~chosen]), name
        torch.testing.assert_close(found[name].double(), value.double() * factor, rtol=1e-4, atol=0)
    total = sum(value.numel() for value in forget.values())
    assert 0 < count < total or (selection == 100 and count == 0)


def test_nothing_is_trained_and_every_epoch_is_the_same(after, changed):
    once, thrice = (after(ssd(1.0), epochs=epochs, lr=0.1)[0] for epochs in (1, 3))
    assert not changed(once, thrice)


def test_weights_without_any_importance_stay(after, tiny_network):
    network = tiny_network()
    with torch.no_grad():
        network.encoder[1].weight[2], network.encoder[1].bias[2] = 0, -1  # a channel that is never on
    found, before = after(ssd(0.1), network, epochs=1)
    assert all(value.isfinite().all() for value in found.values())
    assert torch.equal(found["encoder.0.weight"][2], before["encoder.0.weight"][2])
    assert torch.equal(found["decoder.weight"][:, 2], before["decoder.weight"][:, 2])
