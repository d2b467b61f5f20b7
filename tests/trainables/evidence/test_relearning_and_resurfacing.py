"""How quickly the forgotten comes back: steps are counted at the optimiser, courses are fits done by hand."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.evidence.measure import Context
from trainables.evidence.measures.relearn_steps import MOST_STEPS, RELEARNED, relearn_steps
from trainables.evidence.measures.resurfaced_dice import RETAIN_EPOCHS, resurfaced_dice
from trainables.evidence.scores import score
from trainables.fitting import fit
from trainables.recipe import Recipe

LR = 1e-2


@pytest.fixture
def steps_done(monkeypatch):
    """Counts the steps of every AdamW."""
    done = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *given: done.append(1) or step(self, *given))
    return done


def context(data, target=0.0, seed=0):
    return Context(data, None, 10, {}, {}, target / RELEARNED, LR, seed)  # they look at no score


def relearned(network, data, target):
    return float(relearn_steps(copy.deepcopy(network), context(data, target)))


def resurfaced(network, data, seed=0):
    """Of each forget and held-out subject."""
    return resurfaced_dice(copy.deepcopy(network), context(data, seed=seed))


def test_who_remembers_needs_no_step(tiny_network, toy, steps_done):
    network = tiny_network()
    now = score(network, toy, toy.forget).dice.mean()
    assert relearned(network, toy, now - 1e-9) == 0
    assert not steps_done
    assert relearned(network, toy, now + 1e-3) > 0


@pytest.mark.parametrize("forget", [((3, 6), (9,)), ((3, 6), (9, 2), (4,))])  # one step an epoch, and two
def test_the_number_is_that_of_the_optimisers_steps_and_the_least_that_suffices(
    tiny_network, toy, steps_done, forget
):
    data, network = replace(toy, forget=forget), tiny_network()
    steps = relearned(network, data, 0.5)
    assert steps == len(steps_done)
    each = math.ceil(len(sum(forget, ())) / 4)
    assert steps % each == 0
    assert 0 < steps <= MOST_STEPS
    size = min(4, len(sum(forget, ())))
    for epochs, reached in ((int(steps) // each, True), (int(steps) // each - 1, False)):
        again = copy.deepcopy(network)
        for _ in fit(again, data, forget, Recipe(epochs=epochs, lr=LR, retain_batch=size), 0):
            pass
        assert (score(again, data, forget).dice.mean() >= 0.5) == reached


@pytest.mark.slow
def test_a_higher_target_takes_more_steps_and_an_impossible_one_for_ever(tiny_network, toy, steps_done):
    network = tiny_network()
    found = [relearned(network, toy, target) for target in (0.3, 0.5, 0.7)]
    assert found == sorted(found)
    assert found[0] < found[-1]
    steps_done.clear()
    assert relearned(network, toy, 1.01) == math.inf
    assert len(steps_done) == MOST_STEPS


def test_only_the_forget_subjects_are_taught(tiny_network, toy):
    network = tiny_network()
    garbled = toy.labels.copy()
    garbled[[0, 1, 2, 4, 5, 7, 8, 10, 11]] = 1
    assert relearned(network, replace(toy, labels=garbled), 0.5) == relearned(network, toy, 0.5)


def test_what_resurfaces_is_the_forget_dice_after_a_fit_to_the_retain_subjects(tiny_network, toy, steps_done):
    network = tiny_network()
    found = resurfaced(network, toy, 3)
    assert len(steps_done) == RETAIN_EPOCHS * 4  # seven retain scans in pairs
    again = copy.deepcopy(network)
    for _ in fit(again, toy, toy.retain, Recipe(epochs=RETAIN_EPOCHS, lr=LR, lr_decay="3"), 3):
        pass
    assert found == pytest.approx(score(again, toy, toy.forget + toy.heldout).dice, abs=1e-6)
    before = score(network, toy, toy.forget).dice.mean()
    assert found[:2].mean() > before  # on the toy cohort one subject teaches the next


def test_resurfacing_learns_nothing_from_the_forget_labels(tiny_network, toy):
    network = tiny_network()
    once = resurfaced(network, toy)
    images = toy.images.copy()
    images[10:] = 100  # nor from the held-out subjects
    assert (resurfaced(network, replace(toy, images=images))[:2] == once[:2]).all()
    labels = toy.labels.copy()
    labels[[3, 6, 9]] = np.where(labels[[3, 6, 9]] == 1, 2, labels[[3, 6, 9]])
    swapped = replace(toy, labels=labels)
    trained = copy.deepcopy(network)
    for _ in fit(trained, toy, toy.retain, Recipe(epochs=RETAIN_EPOCHS, lr=LR, lr_decay="3"), 0):
        pass
    assert resurfaced(network, swapped)[:2] == pytest.approx(score(trained, swapped, toy.forget).dice, abs=1e-6)
