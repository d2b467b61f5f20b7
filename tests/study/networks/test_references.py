import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from study.cluster.nodes import Resources
from study.networks.references import (
    _check_clean,
    _fit_reports,
    _load,
    _measure,
    _store,
    fit_digests,
    fit_networks,
    reference_fits,
    stored_weights,
)
from study.networks.session import Session
from study.planning.plan import make_plan
from study.records.failure import StudyError
from study.records.references import BASELINE, RETRAINED
from study.records.study_record import recorded_settings
from trainables.evaluation import nanmean
from trainables.fitting import initial_network, weights_of
from trainables.recipe import Recipe
from trainables.unlearning import EpochReport

NAMES = [BASELINE, RETRAINED, f"{RETRAINED}-1", f"{RETRAINED}-2"]
WEIGHTS = {
    "conv.weight": np.random.default_rng(0).normal(size=(3, 2, 1, 4)).astype(np.float32),
    "bn.num_batches_tracked": np.array(12),
}
SUBJECTS = {"retain_dice": [0.1 + 0.2, 0.5], "forget_dice": [0.5], "heldout_dice": [math.nan]}
SUBJECTS |= {"retain_mae": [0.1, 0.2], "forget_mae": [0.3], "heldout_mae": [0.4], "forget_dice_views": [0.6]}
REPORTS = [EpochReport(1, {}, 2.0, 0.5, False), EpochReport(2, SUBJECTS, 1.5, 0.25, False)]


@pytest.fixture
def three(settings):
    return dataclasses.replace(settings, references=3)


@pytest.fixture
def plan(three):
    return make_plan(three)


def with_settings(plan, **changes):
    return dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, **changes))


def digests_of(plan):
    return fit_digests(plan, reference_fits(plan))


def fit_all(plan, heard):
    """The references; `heard` gets the names and epochs of those that are fitted."""
    view = SimpleNamespace(begin=lambda name, total: lambda epoch: heard.append((name, epoch)))
    return fit_networks(Session(plan, Resources(1, 1, 0.0), view), reference_fits(plan), digests_of(plan))


@pytest.mark.slow
def test_the_references_differ_and_are_the_same_in_every_study_of_the_cohort(plan, three):
    digests = digests_of(plan)
    assert list(digests) == NAMES
    assert len(set(digests.values())) == 4
    assert digests_of(make_plan(three)) == digests


@pytest.mark.slow
def test_more_references_leave_the_first_ones_alone(plan):
    five, three, one = (digests_of(with_settings(plan, references=count)) for count in (5, 3, 1))
    assert list(one) == NAMES[:2]
    assert list(five) == [*NAMES, f"{RETRAINED}-3", f"{RETRAINED}-4"]
    assert one.items() <= three.items() <= five.items()


def test_retrained_references_have_seeds_of_their_own_and_never_see_the_forget_subjects(plan):
    fits = reference_fits(plan)
    assert fits[BASELINE].seed == fits[RETRAINED].seed == plan.settings.seed
    assert len({fit.seed for fit in fits.values()}) == 3
    assert sorted(fits[BASELINE].taught) == sorted(plan.data.retain + plan.data.forget)
    assert {fits[name].taught for name in NAMES[1:]} == {plan.data.retain}


@pytest.mark.parametrize(
    "change",
    [
        {"baseline_epochs": 61},
        *(
            pytest.param(c, marks=pytest.mark.slow)
            for c in ({"depth": 18}, {"baseline_lr": 2e-3}, {"baseline_augment": "shift"}, {"seed": 1})
        ),
    ],
    ids=lambda each: next(iter(each)),
)
def test_a_setting_of_the_fit_changes_every_digest(plan, change):
    before, after = (digests_of(each) for each in (plan, with_settings(plan, **change)))
    assert len({*before.values(), *after.values()}) == 8


@pytest.mark.slow
def test_cohort_split_and_initial_weights_change_every_digest(plan, tmp_path):
    data = plan.data
    state = initial_network(10, data.classes, seed=9).state_dict()
    torch.save(state, tmp_path / "first.pth")
    state["encoder.conv1.weight"][0, 0, 0, 0, 0] += 1e-6
    torch.save(state, tmp_path / "second.pth")
    moved = {
        "cohort": dataclasses.replace(plan, cohort=dataclasses.replace(plan.cohort, digest="0" * 16)),
        "forget": dataclasses.replace(
            plan, data=dataclasses.replace(data, forget=data.retain[:1], retain=(*data.retain[1:], *data.forget))
        ),
        "heldout": dataclasses.replace(plan, data=dataclasses.replace(data, heldout=data.heldout * 2)),
        "weights": with_settings(plan, weights=str(tmp_path / "first.pth")),
        "other weights": with_settings(plan, weights=str(tmp_path / "second.pth")),
    }
    digests = [digests_of(each) for each in (plan, *moved.values())]
    assert len({digest for each in digests for digest in each.values()}) == 4 * len(digests)


@pytest.mark.slow
def test_what_the_search_does_leaves_the_references_alone(plan):
    search = {"trials": 99, "name": "other", "concurrent": 1, "retain_floor": 0.5, "epochs": 3, "verbose": True}
    search |= {"objective": "retrain", "knobs": ("noise_rate=1.0",), "space": "max_loss"}
    search |= {"constraint": ("seconds<=9",), "sampler": "random", "early_stopping": True, "optuna_storage": "x"}
    assert digests_of(with_settings(plan, **search)) == digests_of(plan)


def test_a_stored_reference_comes_back_whole(cache):
    _store("abc", REPORTS, WEIGHTS)
    reference = _load("abc", 7)
    assert (reference.digest, reference.seed) == ("abc", 7)
    assert reference.metrics["retain_dice"] == pytest.approx(0.4)
    assert math.isnan(reference.metrics["heldout_dice"])
    assert reference.subjects["retain_dice"] == [0.1 + 0.2, 0.5]
    assert math.isnan(reference.subjects["heldout_dice"][0])
    assert reference.history[0] == {"epoch": 1, "loss": 2.0, "seconds": 0.5}
    assert reference.history[1]["forget_dice"] == 0.5
    assert set(reference.weights) == set(WEIGHTS)
    for name, value in WEIGHTS.items():
        np.testing.assert_array_equal(reference.weights[name], value)
        assert (reference.weights[name].dtype, reference.weights[name].shape) == (value.dtype, value.shape)


def test_values_of_a_metric_that_came_later_stand_beside_the_stored_ones(cache):
    _store("abc", REPORTS, WEIGHTS)
    before = _load("abc", 7)
    after = before.with_values({"retain_dice": [0.9, 0.9], "retain_new": [1.0, 3.0]})
    assert after.metrics["retain_dice"] == before.metrics["retain_dice"]
    assert (after.metrics["retain_new"], after.subjects["retain_new"]) == (2.0, [1.0, 3.0])
    assert after.history == [before.history[0], {**before.history[1], **before.metrics, "retain_new": 2.0}]


def test_of_two_studies_that_store_the_same_reference_the_first_wins(cache):
    _store("abc", REPORTS, WEIGHTS)
    _store("abc", REPORTS[1:], {"other": np.zeros(3, np.float32)})
    assert set(_load("abc", 0).weights) == set(WEIGHTS)
    assert [entry.name for entry in (cache / "references").iterdir()] == ["abc"]


def test_cached_references_need_no_ray_and_no_fit(plan, cache, no_ray):
    for name, digest in digests_of(plan).items():
        _store(digest, REPORTS[(name != BASELINE) :], WEIGHTS)
    heard = []
    found = fit_all(plan, heard)
    assert {name: reference.digest for name, reference in found.items()} == digests_of(plan)
    assert {name: reference.seed for name, reference in found.items()} == {
        name: fit.seed for name, fit in reference_fits(plan).items()
    }
    assert [len(found[name].history) for name in NAMES] == [2, 1, 1, 1]
    assert not heard


@pytest.mark.slow
def test_references_are_fitted_once_and_each_is_a_network_of_its_own(plan, cache, local_ray):
    plan = with_settings(plan, baseline_epochs=1, references=2)
    heard = []
    first = fit_all(plan, heard)
    assert sorted(heard) == [(name, 1) for name in NAMES[:3]]
    assert len({reference.weights["encoder.conv1.weight"].tobytes() for reference in first.values()}) == 3
    for reference in first.values():
        sizes = {name: len(values) for name, values in reference.subjects.items()}
        expected = {f"{s}_{m}": len(subset) for s, subset in plan.data.subsets.items() for m in ("dice", "mae")}
        assert sizes == {**expected, "forget_dice_views": len(plan.data.forget)}
        means = {name: nanmean(values) for name, values in reference.subjects.items()}
        assert reference.metrics == pytest.approx(means, nan_ok=True)
        assert reference.history[-1]["retain_dice"] == reference.metrics["retain_dice"]
    heard.clear()
    more = fit_all(with_settings(plan, references=3), heard)
    assert heard == [(NAMES[3], 1)]
    assert all(more[name].metrics == first[name].metrics for name in NAMES[:3])


@pytest.mark.slow
def test_a_fit_starts_from_the_given_weights_writes_to_nothing_shared_and_repeats(plan):
    initial = weights_of(initial_network(10, plan.data.classes, seed=0))
    for array in initial.values():
        array.setflags(write=False)  # as Ray hands them out
    taught, recipe = plan.data.retain, Recipe(epochs=1, lr=1e-30, weight_decay=0.0, retain_batch=4)
    *reports, weights = _fit_reports(plan.data, initial, taught, 10, recipe, 0, 1, 5)
    assert [report.epoch for report in reports] == [1]
    assert reports[0].metrics.keys() >= {"retain_dice", "forget_mae"}
    for name, _ in initial_network(10, plan.data.classes, seed=0).named_parameters():
        np.testing.assert_allclose(weights[name], initial[name], rtol=0, atol=1e-29)  # such a rate moves nothing
    assert weights["encoder.bn1.num_batches_tracked"] == initial["encoder.bn1.num_batches_tracked"] + 1
    measured = _measure(plan.data, weights, 10)
    assert measured == {name: pytest.approx(values) for name, values in reports[0].subjects.items()}
    again = list(_fit_reports(plan.data, initial, taught, 10, recipe, 0, 1, 5))
    assert (again[0].loss, again[0].metrics) == (reports[0].loss, reports[0].metrics)
    assert torch.get_num_threads() == 1


def test_a_start_that_knows_the_cohort_is_refused(done, tmp_path):
    seen = stored_weights(done.record["references"][BASELINE]["digest"])
    torch.save({name: torch.tensor(value) for name, value in seen.items()}, tmp_path / "seen.pth")
    plan = make_plan(
        dataclasses.replace(recorded_settings(done.folder), weights=str(tmp_path / "seen.pth"), name="w")
    )
    with pytest.raises(StudyError, match=r"--weights: .*seen.pth segments this cohort already \(Dice 0\.[3-9]"):
        _check_clean(plan)
    fresh = initial_network(10, plan.data.classes, seed=3).state_dict()
    torch.save(fresh, tmp_path / "fresh.pth")
    _check_clean(with_settings(plan, weights=str(tmp_path / "fresh.pth")))
