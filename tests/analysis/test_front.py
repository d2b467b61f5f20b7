from dataclasses import replace

import moocore
import numpy as np
import pytest

from study.records.constraints import Constraint
from study.records.failure import StudyError
from study.records.front import best_feasible, kept, mark, named_or_picked, pareto_front, picks
from study.records.objectives import OBJECTIVES

GAP = OBJECTIVES["gap"]
FLOOR = [Constraint("retention", ">=", 0.9)]


@pytest.fixture
def trial(trial, typed):
    return lambda *arguments, **changes: typed(trial(*arguments, **changes))


@pytest.fixture
def rows(rows, typed):
    return list(map(typed, rows))


def leading(scores):
    """The front as moocore has it; a point with a NaN neither leads nor beats."""
    defined, leads = ~np.isnan(scores).any(axis=1), np.zeros(len(scores), bool)
    if defined.any():
        leads[defined] = moocore.is_nondominated(scores[defined], maximise=True, keep_weakly=True)
    return leads.tolist()


def test_the_front_is_that_of_moocore():
    """On sets with ties, duplicates and what is undefined, and on hundreds of points that beat few others."""
    rng = np.random.default_rng(0)
    for number in range(1000):
        levels = (3, 8, 1000)[number % 3]
        scores = rng.integers(levels + 1, size=(rng.integers(1, 30), 2 + number % 2)) / levels - 0.5
        scores = np.concatenate([scores, scores[: number % 4]])
        scores[rng.random(len(scores)) < 0.1, rng.integers(scores.shape[1])] = np.nan
        assert pareto_front(scores).tolist() == leading(scores)
    sphere = np.abs(rng.normal(size=(400, 3)))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True) * rng.choice([1, 1.01], size=(400, 1))
    assert pareto_front(sphere).tolist() == leading(sphere)


def test_duplicates_share_the_front_and_ties_on_one_axis_do_not():
    scores = np.array([[0.8, -0.1], [0.8, -0.1], [0.7, -0.1], [0.8, -0.2], [0.9, -0.9]])
    assert pareto_front(scores).tolist() == [True, True, False, False, True]
    third = np.array([[0.8, -0.1, -60], [0.8, -0.1, -60], [0.8, -0.1, -61], [0.7, -0.1, -59], [0.8, -0.2, -60]])
    assert pareto_front(third).tolist() == [True, True, False, True, False]
    assert pareto_front(np.empty((0, 3))).tolist() == []
    assert pareto_front(np.array([[np.nan, 1.0], [0.1, 0.0]])).tolist() == [False, True]


@pytest.mark.parametrize(
    ("changes", "feasible"),
    [
        ({}, True),
        ({"retention": 0.9}, True),
        ({"retention": np.nextafter(0.9, 0)}, False),
        ({"retention": float("nan")}, False),
        ({"retention": None}, False),
        ({"diverged": True}, False),
        ({"status": "running"}, False),
        ({"status": "pruned"}, False),
        ({"status": "failed"}, False),
    ],
)
def test_a_finished_trial_at_or_above_the_floor_is_feasible(trial, changes, feasible):
    row = trial("a", 0.76, 0.2, **changes)
    assert mark([row], FLOOR, GAP) == [replace(row, feasible=feasible, on_front=feasible)]


def test_a_feasible_trial_meets_every_constraint(trial):
    rng = np.random.default_rng(3)
    constraints = [*FLOOR, Constraint("seconds", "<=", 600.0), Constraint("heldout_dice", ">=", 0.0)]
    rows, met = [], []
    for number in range(60):
        retention, seconds, heldout = (
            rng.choice([0.85, 0.9, 0.95]),
            rng.choice([599, 600, 601]),
            rng.choice([-1, 0, 1]),
        )
        rows.append(trial(str(number), 0.7, 0.2, retention=retention, seconds=seconds, heldout_dice=heldout))
        met.append(bool(retention >= 0.9 and seconds <= 600 and heldout >= 0))
    assert [row.feasible for row in mark(rows, constraints, GAP)] == met
    assert 5 < sum(met) < 50
    undefined = trial("undefined", 0.79, 0.1, heldout_dice=float("nan"))
    assert not mark([undefined], constraints, GAP)[0].feasible
    everything = mark(rows, [], GAP)
    assert all(row.feasible for row in everything)


def test_trials_that_are_not_feasible_beat_none_and_old_marks_are_forgotten(trial):
    rows = [
        trial("collapsed", 0.3, 0.0, feasible=True, on_front=True),
        trial("diverged", 0.8, 0.0, diverged=True),
        trial("running", status="running"),
        trial("beaten", 0.74, 0.3, on_front=True),
        trial("leads", 0.75, 0.2),
        trial("undefined", 0.76, float("nan")),
    ]
    marked = mark(rows, FLOOR, GAP)
    assert [row.id for row in marked] == [row.id for row in rows]
    assert [row.id for row in marked if row.feasible] == ["beaten", "leads", "undefined"]
    assert [row.id for row in marked if row.on_front] == ["leads"]
    assert mark([], FLOOR, GAP) == []


def test_the_best_is_the_first_feasible_trial_with_the_largest_gap(trial):
    rows = [
        trial("undefined", 0.8, 0.1, feasible=True, dice_gap=float("nan")),
        trial("running", status="running"),
        trial("infeasible", 0.7, 0.0),
        trial("worse", 0.75, 0.5, feasible=True),
        trial("best", 0.75, 0.25, feasible=True),
        trial("equal", 0.875, 0.375, feasible=True),
    ]
    assert best_feasible(rows, GAP).id == "best"
    assert best_feasible(rows, OBJECTIVES["front"]).id == "best"
    assert best_feasible(rows[:3], GAP) is None
    assert best_feasible([], GAP) is None


def test_the_best_is_on_the_front(trial):
    rng = np.random.default_rng(0)
    half = [Constraint("retention", ">=", 0.5)]
    for _ in range(30):
        marked = mark([trial(str(i), *rng.integers(9, size=2) / 8) for i in range(12)], half, GAP)
        best = best_feasible(marked, GAP)
        assert best is None or best.on_front


@pytest.mark.parametrize(
    ("objective", "score", "smaller"),
    [
        ("gap", lambda row: row.metric("retain_dice") - row.metric("forget_dice"), ("forget_dice",)),
        ("retrain", lambda row: -row.metric("retrain_gap"), ("retrain_gap",)),
        ("unseen", lambda row: -row.metric("unseen_gap"), ("unseen_gap",)),
        ("front", lambda row: row.metric("retain_dice") - row.metric("forget_dice"), ("forget_dice",)),
        (
            "front_seconds",
            lambda row: row.metric("retain_dice") - row.metric("forget_dice"),
            ("forget_dice", "seconds"),
        ),
    ],
)
def test_front_and_best_of_every_objective_are_what_they_say(trial, objective, score, smaller):
    rng = np.random.default_rng(7)
    for _ in range(20):
        drawn = rng.integers(1, 9, size=(14, 5)) / 8
        rows = [
            trial(str(i), retain, forget, retrain_gap=retrain, unseen_gap=unseen, retention=retain, seconds=seconds)
            for i, (retain, forget, retrain, unseen, seconds) in enumerate(drawn)
        ]
        marked = mark(rows, [Constraint("retention", ">=", 0.5)], OBJECTIVES[objective])
        feasible = [row for row in rows if row.metric("retain_dice") >= 0.5]
        points = np.array(
            [[row.metric("retain_dice"), *(-row.results[name] for name in smaller)] for row in feasible]
        )
        front = [row.id for row, leads in zip(feasible, leading(points), strict=True) if leads]
        assert [row.id for row in marked if row.on_front] == front
        equals = [row for row in feasible if score(row) == max(map(score, feasible))]
        first = next((row for row in equals if row.id in front), None)  # one of them always is
        best = best_feasible(marked, OBJECTIVES[objective])
        assert (best and best.id) == (first and first.id)


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_trial_whose_distance_is_undefined_is_neither_best_nor_on_the_front(trial, value):
    rows = [trial("undefined", 0.8, 0.0, retrain_gap=value), trial("far", 0.75, 0.7, retrain_gap=0.9)]
    marked = mark(rows, FLOOR, OBJECTIVES["retrain"])
    assert [(row.feasible, row.on_front) for row in marked] == [(True, False), (True, True)]
    assert best_feasible(marked, OBJECTIVES["retrain"]).id == "far"
    assert best_feasible(marked[:1], OBJECTIVES["retrain"]) is None


def test_the_chosen_trial_is_the_named_one_else_the_best_feasible(rows):
    assert named_or_picked(rows, GAP).id == "best"
    assert named_or_picked(rows, GAP, "beaten").id == "beaten"
    assert named_or_picked(rows, GAP, "collapsed").id == "collapsed"  # feasible or not
    assert named_or_picked([row for row in rows if row.id != "best"], GAP).id == "good"


def test_the_closest_trial_is_the_feasible_one_nearest_to_the_steering_reference(trial):
    gaps = {"far": 0.3, "near": 0.02, "undefined": float("nan")}
    rows = [trial(name, 0.8, 0.1 * place, retrain_gap=gap) for place, (name, gap) in enumerate(gaps.items(), 1)]
    rows = mark([*rows, trial("infeasible", 0.1, 0.5, retrain_gap=0.0)], FLOOR, GAP)
    assert {name: row.id for name, row in picks(rows, GAP).items()} == {"best": "far", "closest": "near"}
    assert named_or_picked(rows, GAP, pick="closest").id == "near"
    assert kept(rows, GAP) == {"far", "near"}  # the one on the front, and the one that is not
    assert picks(rows[-1:], GAP) == {}


@pytest.mark.parametrize("name", ["running", "failed", "nobody"])
def test_a_trial_that_has_not_finished_cannot_be_chosen(rows, name):
    with pytest.raises(
        StudyError, match=rf"--trial.*'{name}'; there are good, collapsed, best, beaten, burst, careful"
    ):
        named_or_picked(rows, GAP, name)
    with pytest.raises(StudyError, match="there are none"):
        named_or_picked([], GAP, name)


def test_without_a_feasible_trial_one_must_be_named(rows):
    infeasible = [row for row in rows if not row.feasible]
    with pytest.raises(StudyError, match=r"no trial is feasible.*--trial"):
        named_or_picked(infeasible, GAP)
    assert named_or_picked(infeasible, GAP, "burst").id == "burst"
