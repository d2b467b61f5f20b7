import dataclasses
import math

import numpy as np
import pytest
import ray
import torch

from study.plan import make_plan
from study.references import (
    BASELINE,
    RETRAINED,
    _fit_reports,
    _load,
    _store,
    fit_references,
    reference_digests,
)
from study.resources import Resources
from trainables.fitting import initial_network, weights_of
from trainables.recipe import Recipe
from trainables.unlearning import EpochReport

INITIAL = {"conv.weight": np.arange(8, dtype=np.float32).reshape(2, 4), "count": np.array(7)}
WEIGHTS = {
    "conv.weight": np.random.default_rng(0).normal(size=(3, 2, 1, 4)).astype(np.float32),
    "bn.num_batches_tracked": np.array(12),
}
REPORTS = [
    EpochReport(1, {}, 2.0, 0.5, False),
    EpochReport(2, {"retain_dice": 0.1 + 0.2, "forget_dice": 0.5, "heldout_dice": math.nan}, 1.5, 0.25, False),
]


@pytest.fixture
def plan(settings):
    return make_plan(settings)


def with_settings(plan, **changes):
    return dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, **changes))


def test_the_two_references_differ_and_are_the_same_in_every_study_of_the_cohort(plan, settings):
    digests = reference_digests(plan, INITIAL)
    assert set(digests) == {BASELINE, RETRAINED}
    assert digests[BASELINE] != digests[RETRAINED]
    assert reference_digests(make_plan(settings), dict(reversed(INITIAL.items()))) == digests


@pytest.mark.parametrize(
    "change",
    [{"depth": 18}, {"baseline_epochs": 61}, {"baseline_lr": 2e-3}, {"seed": 1}],
    ids=lambda each: next(iter(each)),
)
def test_a_setting_of_the_fit_changes_both_digests(plan, change):
    before, after = (reference_digests(each, INITIAL) for each in (plan, with_settings(plan, **change)))
    assert len({*before.values(), *after.values()}) == 4


def test_cohort_split_and_initial_weights_change_both_digests(plan):
    data = plan.data
    moved = {
        "cohort": dataclasses.replace(plan, cohort=dataclasses.replace(plan.cohort, digest="0" * 16)),
        "forget": dataclasses.replace(
            plan, data=dataclasses.replace(data, forget=data.retain[:1], retain=(*data.retain[1:], *data.forget))
        ),
        "heldout": dataclasses.replace(plan, data=dataclasses.replace(data, heldout=data.heldout * 2)),
    }
    digests = [reference_digests(each, INITIAL) for each in (plan, *moved.values())]
    other = {**INITIAL, "conv.weight": np.nextafter(INITIAL["conv.weight"], np.float32(9))}
    digests.append(reference_digests(plan, other))
    assert len({digest for each in digests for digest in each.values()}) == 2 * len(digests)


def test_what_the_search_does_leaves_the_references_alone(plan):
    search = {"trials": 99, "name": "other", "concurrent": 1, "retain_floor": 0.5, "epochs": 3, "verbose": True}
    assert reference_digests(with_settings(plan, **search), INITIAL) == reference_digests(plan, INITIAL)


def test_a_stored_reference_comes_back_whole(tmp_path):
    _store(tmp_path / "references/abc", REPORTS, WEIGHTS)
    reference = _load(tmp_path / "references/abc", "abc")
    assert reference.digest == "abc"
    assert reference.metrics["retain_dice"] == 0.1 + 0.2
    assert math.isnan(reference.metrics["heldout_dice"])
    assert reference.history[0] == {"epoch": 1, "loss": 2.0, "seconds": 0.5}
    assert reference.history[1]["forget_dice"] == 0.5
    assert set(reference.weights) == set(WEIGHTS)
    for name, value in WEIGHTS.items():
        np.testing.assert_array_equal(reference.weights[name], value)
        assert (reference.weights[name].dtype, reference.weights[name].shape) == (value.dtype, value.shape)


def test_of_two_studies_that_store_the_same_reference_the_first_wins(tmp_path):
    _store(tmp_path / "abc", REPORTS, WEIGHTS)
    _store(tmp_path / "abc", REPORTS[1:], {"other": np.zeros(3, np.float32)})
    assert set(_load(tmp_path / "abc", "abc").weights) == set(WEIGHTS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["abc"]


def test_cached_references_need_no_ray_and_no_fit(plan, cache):
    for name, digest in reference_digests(plan, INITIAL).items():
        _store(cache / "references" / digest, REPORTS[(name == RETRAINED) :], WEIGHTS)
    heard = []
    found = fit_references(plan, INITIAL, cache, Resources(1, 1, 0.0), lambda *news: heard.append(news))
    assert {name: reference.digest for name, reference in found.items()} == reference_digests(plan, INITIAL)
    assert [len(found[name].history) for name in (BASELINE, RETRAINED)] == [2, 1]
    assert not heard
    assert not ray.is_initialized()


def test_a_fit_starts_from_the_given_weights_writes_to_nothing_shared_and_repeats(plan):
    initial = weights_of(initial_network(10, plan.data.classes, seed=0))
    for array in initial.values():
        array.setflags(write=False)  # as Ray hands them out
    taught, recipe = plan.data.retain, Recipe(epochs=1, lr=1e-30, weight_decay=0.0, retain_batch=4)
    *reports, weights = _fit_reports((plan.data, initial), taught, 10, recipe, 0, 1)
    assert [report.epoch for report in reports] == [1]
    assert reports[0].metrics.keys() >= {"retain_dice", "forget_mae"}
    for name, _ in initial_network(10, plan.data.classes, seed=0).named_parameters():
        np.testing.assert_allclose(weights[name], initial[name], rtol=0, atol=1e-29)  # such a rate moves nothing
    assert weights["encoder.bn1.num_batches_tracked"] == initial["encoder.bn1.num_batches_tracked"] + 1
    again = list(_fit_reports((plan.data, initial), taught, 10, recipe, 0, 1))
    assert (again[0].loss, again[0].metrics) == (reports[0].loss, reports[0].metrics)
    assert torch.get_num_threads() == 1
