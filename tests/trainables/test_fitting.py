"""Initial networks and fits."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.cohorts.cohort import IGNORED
from trainables.data import scans
from trainables.fitting import fit, initial_network, weights_of
from trainables.med3d import WeightsError, med3d
from trainables.recipe import Recipe


def equal(first, second):
    return all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = initial_network(10, 3, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert equal(initial_network(10, 3, seed=0), first)
    assert not equal(initial_network(10, 3, seed=1), first)


@pytest.mark.slow
def test_what_a_checkpoint_has_is_loaded_and_the_rest_is_drawn_from_the_seed(tmp_path):
    drawn, checkpoint = initial_network(10, 3, seed=0), med3d(10, classes=5)
    torch.save(checkpoint.state_dict(), tmp_path / "weights.pth")  # its head has other classes, so that it stays
    network = initial_network(10, 3, 0, str(tmp_path / "weights.pth"))
    assert equal(network.encoder, checkpoint.encoder)
    assert equal(network.decoder[:6], checkpoint.decoder[:6])
    assert equal(network.decoder[6], drawn.decoder[6])
    with pytest.raises(WeightsError):
        initial_network(18, 3, 0, str(tmp_path / "weights.pth"))


def separable(toy, labels):
    """Intensity tells the class of a voxel: 0, 1 or -1."""
    images = np.array([0, 1, -1])[labels] + np.random.default_rng(1).normal(0, 0.1, labels.shape)
    return replace(toy, images=images.astype(np.float32), labels=labels)


@pytest.fixture
def easy(toy):
    coarse = toy.labels[:, ::2, ::2, ::2] % IGNORED  # the tiny network has half the resolution
    return separable(toy, coarse.repeat(2, 1).repeat(2, 2).repeat(2, 3))


RECIPE = Recipe(epochs=17, lr=0.05, retain_batch=2)


def test_a_fit_learns_what_intensity_tells(tiny_network, easy):
    network = tiny_network()
    reports = list(fit(network, easy, easy.retain + easy.forget, RECIPE, seed=0))
    assert reports[-1].loss < reports[0].loss / 10
    for name in ("retain", "forget", "heldout"):
        assert reports[-1].metrics[f"{name}_dice"] > 0.95
        assert reports[-1].metrics[f"{name}_mae"] < 0.05
    assert [report.epoch for report in reports if report.metrics] == [5, 10, 15, 17]


@pytest.mark.slow
def test_who_is_taught_decides_what_is_learnt(tiny_network, easy):
    labels = easy.labels.copy()
    others = labels[scans(easy.retain)]
    labels[scans(easy.retain)] = np.where(others == 2, 0, others)  # class 2 is on forget and held-out scans only
    data = separable(easy, labels)
    baseline, retrained = (
        list(fit(tiny_network(), data, taught, RECIPE, seed=0))[-1].metrics["forget_dice"]
        for taught in (data.retain + data.forget, data.retain)
    )
    assert retrained < 0.6 < 0.9 < baseline


def test_weights_as_arrays_are_the_whole_network(tiny_network, easy):
    network = tiny_network()
    list(fit(network, easy, easy.retain, Recipe(epochs=1), seed=0))
    weights = weights_of(network)
    assert all(isinstance(value, np.ndarray) for value in weights.values())
    other = tiny_network(seed=1)
    other.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    network.eval(), other.eval()
    image = torch.from_numpy(easy.images[:1, None])
    assert torch.equal(network(image), other(image))


_FIRST = """
import gc, weakref
import numpy as np
from trainables.data import TrialData
from trainables.fitting import fit, initial_network
from trainables.recipe import Recipe

def given_to_a_fit():
    images, labels = np.zeros((3, 16, 16, 16), np.float32), np.zeros((3, 16, 16, 16), np.uint8)
    data = TrialData(images, labels, ((0,),), ((1,),), ((2,),), 3)
    list(fit(initial_network(10, 3, seed=0), data, data.retain, Recipe(1, 0.1), seed=0))
    return weakref.ref(data), weakref.ref(images)

gc.disable()
print([given() is None for given in given_to_a_fit()])
"""


@pytest.mark.slow
def test_what_the_first_fit_of_a_process_was_given_is_free_when_it_ends():
    """Arrays of the object store stay on a node as long as a process there has them."""
    done = subprocess.run([sys.executable, "-c", _FIRST], capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True]\n"
