"""CF-k: the last stages learn on, the others keep weights and statistics."""

import pytest

from trainables.strategies.cf_k import cf_k
from trainables.strategies.finetune import finetune

STAGES = ("decoder", "encoder.layer4", "encoder.layer3", "encoder.layer2", "encoder.layer1", "encoder.conv1")


@pytest.mark.parametrize("k", [1, 4])
def test_the_other_stages_stay_bit_identical_through_a_trial(after, changed, med3d_10, small, k):
    found, before = after(cf_k(k), med3d_10(), small)
    assert changed(found, before) == {name for name in found if name.startswith(STAGES[:k])}


@pytest.mark.slow
def test_all_six_stages_are_fine_tuning(after, changed, med3d_10, small):
    assert not changed(*(after(strategy, med3d_10(), small, epochs=1)[0] for strategy in (cf_k(6), finetune())))
