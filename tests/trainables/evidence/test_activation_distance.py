"""The distance of softmax outputs, to retrained networks and the baseline, against closed forms and numpy."""

import numpy as np
import pytest
import torch

from trainables.evidence.measure import Context
from trainables.evidence.measures.activation_distance import output_distance
from trainables.evidence.measures.change import change
from trainables.evidence.measures.nearness import nearness
from trainables.med3d import upsample


@pytest.fixture
def constant(tiny_network):
    """Builds a network with the same logits everywhere."""

    def build(*logits):
        network = tiny_network()
        with torch.no_grad():
            network.decoder.weight.zero_()
            network.decoder.bias.copy_(torch.tensor(logits))
        return network

    return build


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((50.0, 0.0, 0.0), (0.0, 50.0, 0.0), np.sqrt(2)),  # certain of different classes
        ((0.0, 0.0, 0.0), (50.0, 0.0, 0.0), np.sqrt((2 / 3) ** 2 + 2 * (1 / 3) ** 2)),
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0), 0),
        ((1.0, 2.0, 3.0), (2.0, 3.0, 4.0), 0),  # the same probabilities
    ],
)
def test_closed_forms(constant, toy, first, second, expected):
    found = output_distance(constant(*first), constant(*second), toy, toy.forget)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_mean_over_voxels_and_scans_in_either_order(tiny_network, med3d_10, toy):
    networks = tiny_network(), med3d_10()
    outputs = []
    for network in networks:
        network.eval()
        with torch.no_grad():
            logits = (
                upsample(network(torch.from_numpy(toy.images[[3, 6, 9]])[:, None]), (16, 16, 16)).double().numpy()
            )
        outputs.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
        network.train()
    expected = np.sqrt(((outputs[0] - outputs[1]) ** 2).sum(1)).mean()
    assert expected > 0.1
    assert output_distance(*networks, toy, toy.forget) == pytest.approx(expected, rel=1e-4)
    assert output_distance(*reversed(networks), toy, toy.forget) == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def context(toy, monkeypatch):
    """Builds a context whose weights are networks."""
    monkeypatch.setattr(Context, "network", lambda self, weights: weights)
    return lambda baseline, *retrained: Context(toy, None, 10, dict(enumerate(retrained)), baseline, 0.5, 1e-3, 0)


FIRST, SECOND, NEITHER = (50.0, 0.0, 0.0), (0.0, 50.0, 0.0), (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("network", "retrained", "expected"),
    [
        (FIRST, [SECOND], 1),  # the baseline itself
        (SECOND, [SECOND], 0),
        ((0.0, 0.0, 50.0), [SECOND], 0.5),  # it forgot too much, and is as far from both
        (SECOND, [SECOND, NEITHER], np.sqrt(2 / 3) / 2 / (np.sqrt(2 / 3) / 2 + np.sqrt(2))),
        (FIRST, [FIRST], np.nan),  # there is no way to be nearer to one
        (FIRST, [], np.nan),
    ],
)
def test_nearness_is_the_share_of_the_way_to_the_baseline(constant, context, network, retrained, expected):
    given = context(constant(*FIRST), *(constant(*logits) for logits in retrained))
    np.testing.assert_allclose(nearness(constant(*network), given), [expected] * 2, atol=1e-6)


def test_change_and_nearness_are_of_each_subject_by_itself(tiny_network, toy, context):
    networks, people = [tiny_network(seed) for seed in range(3)], toy.forget + toy.heldout
    to_baseline, to_retrained = (
        [np.mean([output_distance(networks[0], other, toy, ((scan,),)) for scan in person]) for person in people]
        for other in networks[1:]
    )
    given = context(*networks[1:])
    np.testing.assert_allclose(change(networks[0], given), to_baseline, rtol=1e-6)
    expected = np.divide(to_retrained, np.add(to_retrained, to_baseline))[:2]
    np.testing.assert_allclose(nearness(networks[0], given), expected, rtol=1e-6)
    assert len(set(to_baseline)) == 4
