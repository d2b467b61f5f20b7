"""Shrink and perturb: where it starts from, and what it is at both ends of its knob."""

import pytest
import torch

from trainables.recipe import Recipe
from trainables.strategies.finetune import finetune
from trainables.strategies.retrain import retrain
from trainables.strategies.shrink_perturb import shrink_perturb
from trainables.unlearning import Unlearning


@pytest.fixture
def begun(tiny_network, toy):
    """The state that a trial starts from; the baseline has running statistics of its own and no bias."""

    def state(strategy, baseline=0, seed=0):
        network = tiny_network(baseline).train()
        with torch.no_grad():
            network(torch.from_numpy(toy.images[:4, None]) * 2 + 1)
            network.decoder.bias.zero_()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        Unlearning(network, toy, strategy, Recipe(epochs=1), seed)
        return network.state_dict(), before

    return state


@pytest.mark.parametrize("a", [0.25, 0.6])
def test_weights_and_running_statistics_start_between_the_baselines_and_fresh_ones(begun, a):
    (mixed, before), (fresh, _) = begun(shrink_perturb(a)), begun(retrain())
    for name, value in mixed.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, a * before[name] + (1 - a) * fresh[name])
    assert (mixed["encoder.1.running_mean"] != before["encoder.1.running_mean"]).any()


def test_retraining_knows_nothing_of_the_baseline_and_starts_from_the_trials_seed(begun, changed):
    first, _ = begun(retrain())
    assert not changed(first, begun(retrain(), baseline=5)[0])
    assert changed(first, begun(retrain(), seed=1)[0]) == {"encoder.0.weight", "decoder.weight"}
    assert not first["encoder.1.running_mean"].any()
    assert first["encoder.1.num_batches_tracked"] == 0


def test_all_of_the_baseline_is_fine_tuning(after, changed):
    assert not changed(after(shrink_perturb(1.0))[0], after(finetune())[0])
    assert changed(after(shrink_perturb(0.9))[0], after(finetune())[0])
