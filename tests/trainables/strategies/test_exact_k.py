"""EU-k: the last stages know nothing of the baseline's, the others are the baseline's bit for bit."""

import pytest
import torch

from trainables.recipe import Recipe
from trainables.strategies.exact_k import exact_k
from trainables.unlearning import Unlearning

STAGES = ("decoder", "encoder.layer4", "encoder.layer3", "encoder.layer2", "encoder.layer1", "encoder.conv1")


@pytest.mark.parametrize("k", [1, 3])
def test_the_other_stages_stay_bit_identical_through_a_trial(after, changed, med3d_10, small, k):
    found, before = after(exact_k(k), med3d_10(), small)
    assert changed(found, before) == {name for name in found if name.startswith(STAGES[:k])}


@pytest.mark.slow
@pytest.mark.parametrize("k", [2, 6])
def test_the_last_stages_begin_as_if_there_had_been_no_baseline(changed, med3d_10, small, k):
    last = {name for name in med3d_10().state_dict() if name.startswith(STAGES[:k]) or k == 6}

    def begun(seed=0, scale=1.0):
        network = med3d_10()
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if name in last and value.is_floating_point():
                    value.mul_(scale)
        Unlearning(network, small, exact_k(k), Recipe(epochs=1), seed)
        return network.state_dict()

    first = begun()
    assert changed(first, med3d_10().state_dict()) == last
    assert not changed(first, begun(scale=2.0))
    drawn = {name for name in last if first[name].ndim == 5 or name == "decoder.0.bias"}
    assert changed(first, begun(seed=1)) == drawn
