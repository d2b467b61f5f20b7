import math

import pytest

from analysis import numbers
from analysis.reports.terminal_tables import best_line, evidence_table, front_table, verdict, verdict_lines
from study.records.metrics import METRICS
from study.records.objectives import OBJECTIVES
from study.records.rows import NetworkRow

KNOBS = ["noise_rate", "lr", "forget_weight", "epochs"]
GAP = OBJECTIVES["gap"]


@pytest.fixture
def front_of(typed):
    """The table of flat rows."""
    return lambda rows, knobs, metrics, objective: front_table(
        [typed(row, knobs, metrics) for row in rows], knobs, metrics, objective
    )


@pytest.fixture
def marked(trial):
    """Ids and numbers of the lengths that real studies have."""
    more = {"forget_weight": 1.724, "heldout_dice": 0.701, "retention": 0.912, "retrain_gap": 0.543}
    return [
        trial("0123456789ab", 0.777, 0.654, feasible=True, on_front=True, **more),
        trial("aaaaaaaaaaaa", 0.722, 0.321, feasible=True, **more),
        trial("ba9876543210", 0.745, 0.098, feasible=True, on_front=True, **more),
        trial("cccccccccccc", status="running", forget_weight=1.0),
    ]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_metrics_are_whole_and_no_knob_loses_a_digit(marked, width, printed, front_of):
    text = printed(front_of(marked, KNOBS, METRICS, GAP), width)
    assert all(len(line) <= width for line in text.splitlines())
    body = text.rpartition("─")[2]
    first, second = (line.split()[-8:] for line in body.splitlines() if "0.9" in line)
    assert first == ["0.745", "0.098", "0.647", "0.701", "0.912", "0.543", "13", "1234"]
    assert second == ["0.777", "0.654", "0.123", "0.701", "0.912", "0.543", "13", "1234"]
    shown = ["0123456789ab", "ba9876543210", *["0.812", "1.2e-04", "1.724"] * 2, *first, *second]
    assert sorted("".join(body.split())) == sorted("".join(shown))


def test_a_metric_that_the_study_adds_has_a_column(marked, printed, front_of):
    metrics = METRICS | {"retain_hd95": METRICS["retain_mae"]._replace(column="retain_hd95", title="Retain HD95")}
    rows = [row | {"retain_hd95": 2.5} for row in marked]
    lines = printed(front_of(rows, KNOBS, metrics, GAP), 200).splitlines()
    assert "HD95" in lines[2]
    assert [line.split()[-3:] for line in lines[-2:]] == [["2.500", "13", "1234"]] * 2


@pytest.mark.parametrize("width", [80, 200])
def test_a_line_is_a_trial_from_the_most_forgotten_on(marked, width, printed, front_of):
    lines = printed(front_of(marked, KNOBS, METRICS, GAP), width).splitlines()
    assert lines[0].strip() == "Pareto front: 2 of 4 trials"
    assert [line.split()[:5] for line in lines[-2:]] == [
        ["ba9876543210", "0.812", "1.2e-04", "1.724", "0.745"],
        ["0123456789ab", "0.812", "1.2e-04", "1.724", "0.777"],
    ]


def test_only_the_best_feasible_trial_is_bold(marked, printed, front_of):
    lines = printed(front_of(marked, KNOBS, METRICS, GAP), 80, colours="truecolor").splitlines()
    assert ["\x1b[1;" in line for line in lines[-2:]] == [True, False]


def test_a_study_without_a_front(trial, printed, front_of):
    for rows in ([], [trial("a", status="running"), trial("b", 0.1, 0.0)]):
        lines = printed(front_of(rows, KNOBS, METRICS, GAP), 80).splitlines()
        assert lines[0].strip() == f"Pareto front: 0 of {len(rows)} trials"
        assert lines[-1].startswith("─")


def test_undefined_metrics_are_dashes(marked, printed, front_of, typed):
    row = marked[0] | {"retrain_gap": math.nan, "heldout_dice": None}
    last = printed(front_of([row], KNOBS, METRICS, GAP), 80).splitlines()[-1]
    assert last.split()[-5:] == ["–", "0.912", "–", "13", "1234"]  # noqa: RUF001
    assert best_line(typed(row)) == (
        "0123456789ab  gap +0.123  retain 0.777  forget 0.654  held-out –  retention 0.912"  # noqa: RUF001
    )


def test_the_strategy_is_told_where_there_are_several(marked, printed, front_of):
    alone = printed(front_of(marked, KNOBS, METRICS, GAP), 200)
    marked[2]["strategy"] = "max_loss"
    text = printed(front_of(marked, KNOBS, METRICS, GAP), 200)
    assert "noisy_label" not in alone
    assert [line.split()[:2] for line in text.splitlines()[-2:]] == [
        ["ba9876543210", "max_loss"],
        ["0123456789ab", "noisy_label"],
    ]


def test_knobs_that_no_trial_of_the_front_has_are_left_out(marked, printed, front_of):
    for row in marked:
        row["noise_rate"] = None
    marked[1]["noise_rate"] = 0.5  # not on the front
    text = printed(front_of(marked, KNOBS, METRICS, GAP), 200)
    assert "noise" not in text
    assert text.splitlines()[-1].split()[:4] == ["0123456789ab", "1.2e-04", "1.724", "0.777"]


@pytest.mark.parametrize("width", [80, 200])
def test_many_knobs_share_a_column_that_names_those_of_each_trial(marked, width, printed, front_of):
    names = ["noise_rate", "lr", "forget_weight", "ceiling", "image", "epochs"]
    for row in marked:
        row |= {"ceiling": None, "image": None}
    marked[0] |= {"ceiling": 3.5, "noise_rate": None}
    marked[2] |= {"image": "uniform"}
    text = printed(front_of(marked, names, METRICS, GAP), width)
    words = text.split()
    assert {"ceiling=3.500", "image=uniform", "noise_rate=0.812"} <= set(words)
    assert words.count("lr=1.2e-04") == 2
    assert words.count("noise_rate=0.812") == 1
    assert all(len(line) <= width for line in text.splitlines())


def test_the_front_of_a_distance_starts_with_the_nearest(marked, printed, front_of):
    marked[0]["retrain_gap"], marked[2]["retrain_gap"] = 0.125, 0.25
    table = front_of(marked, KNOBS, METRICS, OBJECTIVES["retrain"])
    lines = printed(table, 200, colours="truecolor").splitlines()[-2:]
    assert [number in line for number, line in zip(("0123456789ab", "ba9876543210"), lines, strict=True)] == [
        True
    ] * 2
    assert ["\x1b[1;" in line for line in lines] == [True, False]


def row(id, forget=0.5, evidence="0a1b2c", **measured):
    evidence = {"streisand": False, "evidence": evidence, **measured}
    return NetworkRow(id=id, seed=0, metrics={"forget_dice": forget}, evidence=evidence)


@pytest.mark.parametrize(
    ("remembers", "over", "streisand", "said"),
    [
        (True, False, False, "remembers"),
        (False, True, False, "over-forgets"),
        (False, True, True, "over-forgets, exposed"),
        (False, False, False, "as retrained"),
        (False, False, True, "as retrained, exposed"),
        (None, None, False, "unknown"),
        (None, None, True, "unknown, exposed"),
    ],
)
def test_a_verdict_of_an_earlier_version_in_words(remembers, over, streisand, said):
    assert verdict(row("a", remembers=remembers, over_forgets=over, streisand=streisand)) == said


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_has_a_line_per_network_with_evidence(width, printed):
    told = {"verdict": "remembers", "dice_views": 0.934, "memory_left": 1.084, "memory_of_one": 0.246}
    rows = [
        row("baseline", 0.9123, **told, relearn_steps=0.0, resurfaced_dice=0.9),
        row("none", evidence=None),
        row("0123456789ab", 0.6, **told | {"verdict": "over-forgets"}, relearn_steps=math.inf),
        row("retrained", 0.61, remembers=None, relearn_steps=12.0),
    ]
    text = printed(evidence_table(rows), width)
    lines = text.splitlines()
    assert all(len(line) <= width for line in lines)
    assert "none" not in text
    shown = [line.split() for line in lines[-3:]]
    dash = numbers.MISSING
    assert shown == [
        ["baseline", "remembers", "0.912", "0.934", "1.08", "0.25", "0.900", "0"],
        ["0123456789ab", "over-forgets", "0.600", "0.934", "1.08", "0.25", dash, "never"],
        ["retrained", "unknown", "0.610", dash, dash, dash, dash, "12"],
    ]


def test_why_a_network_has_its_verdict_is_told_in_a_line():
    told = {"verdict": "cannot tell", "reasons": "Loss is blind; Dice too", "would_tell": "2 more references"}
    lines = verdict_lines([row("a", **told), row("b", verdict="as never seen", reasons="Dice"), row("c")])
    assert lines == ["a cannot tell: Loss is blind; Dice too. More: 2 more references", "b as never seen: Dice"]
