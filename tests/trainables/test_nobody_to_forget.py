"""An empty forget set is legal everywhere: some shadow networks of a small cohort have nobody to unlearn."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trainables import strategies
from trainables.cost import trial_cost
from trainables.data import Sets
from trainables.evidence.measure import Context
from trainables.evidence.measurements import MEASURES, RecipeOf, scores_after, weights_after
from trainables.evidence.scores import score
from trainables.fitting import fit, weights_of
from trainables.gaps import GAPS
from trainables.mechanics.gradients import gradients
from trainables.mechanics.scopes import plain_state
from trainables.mechanics.strategy import build
from trainables.recipe import Recipe
from trainables.unlearning import Unlearning

STRATEGIES = sorted(file.stem for file in Path(strategies.__path__[0]).glob("[!_]*.py"))
UNTAUGHT = {"ssd", "salun"}
"""Strategies that move only what the forget subjects mark; without them, nothing."""


@pytest.fixture
def nobody(toy):
    """The toy cohort with nobody to forget."""
    return replace(toy, retain=toy.retain[:3], forget=(), heldout=toy.heldout[:1])


def unlearned(network, data, strategy, **knobs):
    preset, recipe = build(strategy, {"epochs": 2, "lr": 0.01, **knobs})
    loop = Unlearning(network, data, preset, recipe, seed=0)
    return loop, list(loop)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_does_all_its_epochs_and_reports_no_forget_metric(med3d_10, nobody, strategy):
    before = weights_of(med3d_10())
    loop, reports = unlearned(med3d_10(), nobody, strategy)
    assert [report.epoch for report in reports] == [1, 2]
    for report in reports:
        assert math.isfinite(report.loss)
        assert report.subjects["forget_dice"] == []
        assert math.isnan(report.metrics["forget_dice"])
        assert math.isfinite(report.metrics["retain_dice"])
        assert math.isnan(GAPS["dice_gap"].function(report.metrics, {}, {}))
    after = plain_state(loop.network)
    parameters = dict(loop.network.named_parameters()).keys() & after.keys()
    moved = {name for name in parameters if not np.array_equal(after[name].numpy(), before[name])}
    assert bool(moved) == (strategy not in UNTAUGHT)


@pytest.mark.parametrize("options", [{"forget_schedule": "until_floor"}, {"lora_rank": 1}, {"forget_batch": 3}])
def test_recipes_without_a_forget_scan_are_fine_tuning(tiny_network, nobody, options):
    (first, _), (second, _) = (
        unlearned(tiny_network(), nobody, strategy, **options) for strategy in ("noisy_label", "finetune")
    )
    pairs = zip(plain_state(first.network).values(), plain_state(second.network).values(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_scans_one_by_one_and_a_mixture_of_all_mechanics(tiny_network, nobody):
    for forget in ("retain_labels", "random_features", "noise_image", "retain_features", "feature_ascent"):
        preset, recipe = build("mechanics", {"forget": forget, "epochs": 1})
        (report,) = Unlearning(tiny_network(), nobody, preset, recipe, seed=0, one_by_one=True)
        assert math.isfinite(report.loss)


def test_a_network_that_nobody_is_taught_stays_as_it_was(tiny_network, toy):
    network, before = tiny_network(), weights_of(tiny_network())
    reports = list(fit(network, toy, (), Recipe(epochs=2), seed=0))
    assert [report.loss for report in reports] == [0, 0]
    assert all(np.array_equal(value, before[name]) for name, value in weights_of(network).items())


def test_gradients_of_no_scan_are_zero(setting):
    sums = gradients(setting(), [], power=2)
    assert sums.keys() == dict(setting().network.named_parameters()).keys()
    assert not any(value.any() for value in sums.values())


def test_the_scores_of_nobody_are_empty(tiny_network, nobody):
    scores = score(tiny_network(), nobody, ())
    shapes = {name: array.shape for name, array in vars(scores).items()}
    assert shapes == dict.fromkeys(shapes, (0,)) | {"class_dice": (0, 2), "features": (0, 0)}


@pytest.mark.parametrize("name", MEASURES.names())
def test_a_measure_of_nobody_is_undefined(med3d_10, nobody, name):
    scores, other = score(med3d_10(), nobody, nobody.heldout), weights_of(med3d_10())
    context = Context(nobody, scores, 10, {"retrained": other}, other, 0.5, 1e-3, 0)
    values = MEASURES.load(name)(med3d_10(), context)
    assert np.isnan(values).all() if values.ndim == 0 else values.shape in ((0,), (len(nobody.heldout),))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("salun", "scrub", "ssd")]


@pytest.mark.parametrize("strategy", ["noisy_label", *SLOW])
def test_a_recipe_is_done_again_on_a_network_that_had_no_forget_subject(med3d_10, toy, strategy):
    weights, recipe = weights_of(med3d_10()), RecipeOf(strategy, {"epochs": 1}, 0, 0.0)
    sets = Sets(toy.retain[:2], ())
    assert np.isfinite(scores_after(toy, weights, 10, sets, recipe, toy.forget).confidence).all()
    assert weights_after(toy, weights, 10, sets, recipe).keys() == weights.keys()


@pytest.mark.slow
def test_the_cost_of_a_trial_is_known(nobody):
    cost = trial_cost(nobody, 10, [("noisy_label", {}), ("ssd", {})], threads=1)
    assert cost.train_seconds > 0
    assert cost.evaluate_seconds > 0
