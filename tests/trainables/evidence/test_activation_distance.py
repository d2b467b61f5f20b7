"""The distance of softmax outputs against closed forms and numpy."""

import numpy as np
import pytest
import torch

from trainables.evidence.measures.activation_distance import output_distance
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
