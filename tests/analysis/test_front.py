import numpy as np
import pytest

from analysis.front import best_feasible, mark, pareto_front
from study.records import OBJECTIVES

GAP = OBJECTIVES["gap"]


def is_beaten(i, retain, forget, eligible):
    """By another eligible point that is nowhere worse and somewhere better; a NaN compares false."""
    return any(
        eligible[j]
        and retain[j] >= retain[i]
        and forget[j] <= forget[i]
        and (retain[j] > retain[i] or forget[j] < forget[i])
        for j in range(len(retain))
    )


def brute_front(retain, forget, eligible):
    return [
        bool(eligible[i] and not np.isnan(retain[i] + forget[i]) and not is_beaten(i, retain, forget, eligible))
        for i in range(len(retain))
    ]


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_the_front_is_the_brute_force_front(levels):
    """Few levels make ties and duplicates."""
    rng = np.random.default_rng(levels)
    for size in list(range(30)) * 3:
        retain, forget = rng.integers(levels + 1, size=(2, size)) / levels
        eligible = rng.random(size) < 0.8
        retain[rng.random(size) < 0.1] = np.nan
        forget[rng.random(size) < 0.1] = np.nan
        assert pareto_front(retain, forget, eligible).tolist() == brute_front(retain, forget, eligible)


def test_duplicates_share_the_front_and_ties_on_one_axis_do_not():
    retain = np.array([0.8, 0.8, 0.7, 0.8, 0.9])
    forget = np.array([0.1, 0.1, 0.1, 0.2, 0.9])
    assert pareto_front(retain, forget, np.ones(5, bool)).tolist() == [True, True, False, False, True]


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
        ({"status": "failed"}, False),
    ],
)
def test_a_finished_trial_at_or_above_the_floor_is_feasible(trial, changes, feasible):
    row = trial("a", 0.76, 0.2, **changes)
    before = dict(row)
    assert mark([row], 0.9, GAP) == [{**row, "feasible": feasible, "on_front": feasible}]
    assert row == before


def test_trials_that_are_not_feasible_beat_none_and_old_marks_are_forgotten(trial):
    rows = [
        trial("collapsed", 0.3, 0.0, feasible=True, on_front=True),
        trial("diverged", 0.8, 0.0, diverged=True),
        trial("running", status="running"),
        trial("beaten", 0.74, 0.3, on_front=True),
        trial("leads", 0.75, 0.2),
        trial("undefined", 0.76, float("nan")),
    ]
    marked = mark(iter(rows), 0.9, GAP)
    assert [row["id"] for row in marked] == [row["id"] for row in rows]
    assert [row["id"] for row in marked if row["feasible"]] == ["beaten", "leads", "undefined"]
    assert [row["id"] for row in marked if row["on_front"]] == ["leads"]
    assert mark([], 0.9, GAP) == []


def test_the_best_is_the_first_feasible_trial_with_the_largest_gap(trial):
    rows = [
        trial("undefined", 0.8, 0.1, feasible=True, dice_gap=float("nan")),
        trial("running", status="running"),
        trial("infeasible", 0.7, 0.0),
        trial("worse", 0.75, 0.5, feasible=True),
        trial("best", 0.75, 0.25, feasible=True),
        trial("equal", 0.875, 0.375, feasible=True),
    ]
    assert best_feasible(rows, GAP)["id"] == "best"
    assert best_feasible(rows[:3], GAP) is None
    assert best_feasible([], GAP) is None


def test_the_best_is_on_the_front(trial):
    rng = np.random.default_rng(0)
    for _ in range(30):
        marked = mark([trial(str(i), *rng.integers(9, size=2) / 8) for i in range(12)], 0.5, GAP)
        best = best_feasible(marked, GAP)
        assert best is None or best["on_front"]


@pytest.mark.parametrize(
    ("objective", "score", "forgetting"),
    [
        ("gap", lambda row: row["retain_dice"] - row["forget_dice"], "forget_dice"),
        ("retrain", lambda row: -row["retrain_gap"], "retrain_gap"),
        ("unseen", lambda row: -row["unseen_gap"], "unseen_gap"),
    ],
)
def test_front_and_best_of_every_objective_are_those_of_brute_force(trial, objective, score, forgetting):
    rng = np.random.default_rng(7)
    for _ in range(20):
        drawn = rng.integers(1, 9, size=(14, 4)) / 8
        rows = [
            trial(str(i), retain, forget, retrain_gap=retrain, unseen_gap=unseen, retention=retain)
            for i, (retain, forget, retrain, unseen) in enumerate(drawn)
        ]
        marked = mark(rows, 0.5, OBJECTIVES[objective])
        retain, forget = (np.array([row[name] for row in rows]) for name in ("retain_dice", forgetting))
        assert [row["on_front"] for row in marked] == brute_front(retain, forget, retain >= 0.5)
        feasible = [row for row in rows if row["retain_dice"] >= 0.5]
        first = next((row for row in feasible if score(row) == max(map(score, feasible))), None)
        best = best_feasible(marked, OBJECTIVES[objective])
        assert (best and best["id"]) == (first and first["id"])


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_trial_whose_distance_is_undefined_is_neither_best_nor_on_the_front(trial, value):
    rows = [trial("undefined", 0.8, 0.0, retrain_gap=value), trial("far", 0.75, 0.7, retrain_gap=0.9)]
    marked = mark(rows, 0.9, OBJECTIVES["retrain"])
    assert [(row["feasible"], row["on_front"]) for row in marked] == [(True, False), (True, True)]
    assert best_feasible(marked, OBJECTIVES["retrain"])["id"] == "far"
    assert best_feasible(marked[:1], OBJECTIVES["retrain"]) is None
