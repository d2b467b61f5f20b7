"""Trials of a strategy on the toy cohort."""

import copy
from dataclasses import replace

import pytest
import torch

from trainables.mechanics.scopes import plain_state
from trainables.recipe import Recipe
from trainables.unlearning import Unlearning


@pytest.fixture
def small(toy):
    """Two steps an epoch, for networks that take their time."""
    return replace(toy, retain=((0, 1), (2,), (4,)), forget=((3, 6),), heldout=((10,),))


@pytest.fixture
def after(tiny_network, toy):
    """The plain weights and statistics after a trial, and those before."""

    def run(strategy, network=None, data=toy, seed=0, **recipe):
        network = network or tiny_network()
        before = copy.deepcopy(network.state_dict())
        settings = {"epochs": 2, "lr": 0.01, "retain_batch": 3, "weight_decay": 0.1, **recipe}
        list(Unlearning(network, data, strategy, Recipe(**settings), seed))
        return plain_state(network), before

    return run


@pytest.fixture
def changed():
    """The names of what differs between two state dicts."""

    def names(first, second):
        assert first.keys() == second.keys()
        return {name for name, value in first.items() if not torch.equal(value, second[name])}

    return names


def _watching(term, name, steps):
    def watched(step):
        steps.append((step.epoch, name, step.retain.scans, step.forget.scans))
        return term(step)

    return watched


@pytest.fixture
def watch():
    """A strategy whose terms note (epoch, term, retain scans, forget scans) in a list when they are computed."""

    def wrap(strategy):
        steps = []
        retain, forget = (_watching(getattr(strategy, name), name, steps) for name in ("retain", "forget"))
        return replace(strategy, retain=retain, forget=forget), steps

    return wrap
