"""Bad Teacher: the incompetent teacher is drawn from the seed and knows nothing of the baseline."""

import pytest
import torch

from trainables.med3d import SegmentationNetwork, initialise
from trainables.strategies.bad_teacher import bad_teacher


@pytest.fixture
def incompetent(step):
    """The state of the network that answers in the forget term beside the student."""

    def state(network, baseline, seed):
        seen = []
        now = step(forget=(3,), network=network, baseline=baseline, seed=seed)
        handle = torch.nn.modules.module.register_module_forward_hook(
            lambda module, *_: seen.append(module) if isinstance(module, SegmentationNetwork) else None
        )
        bad_teacher().forget(now)
        handle.remove()
        (teacher,) = seen
        assert not teacher.training
        return teacher.state_dict()

    return state


@pytest.mark.slow
def test_the_incompetent_teacher_follows_the_seed_alone(incompetent, changed, med3d_10):
    trained = med3d_10()
    first = incompetent(med3d_10(), med3d_10(), 0)
    initialise(trained, 99)
    assert not changed(incompetent(med3d_10(), trained, 0), first)
    random = {name for name, value in first.items() if value.ndim == 5 or name == "decoder.0.bias"}
    assert changed(incompetent(med3d_10(), med3d_10(), 1), first) == random


def test_both_terms_soften_by_the_temperature(step, tiny_network):
    def losses(temperature):
        now = step(retain=(0,), forget=(3,), baseline=tiny_network(seed=4))
        strategy = bad_teacher(0.3, temperature)
        assert strategy.forget_weight == 0.3
        return torch.stack([strategy.retain(now), strategy.forget(now)])

    assert (losses(1.0) > 0).all()
    assert ((losses(1.0) / losses(8.0) - 1).abs() > 5e-4).all()
    # KL of softened distributions tends to half the variance of the logits' difference over the classes
    torch.testing.assert_close(losses(20.0), losses(40.0), rtol=0.05, atol=0)
