import io
import math

import pytest
from rich.console import Console

from analysis.reports.terminal_tables import best_line, front_table
from study.records.objectives import OBJECTIVES

KNOBS = ["noise_rate", "lr", "forget_weight", "epochs"]
GAP = OBJECTIVES["gap"]


def render(renderable, width, colours=None):
    file = io.StringIO()
    Console(width=width, file=file, force_terminal=True, color_system=colours, _environ={}).print(renderable)
    return file.getvalue()


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
def test_the_metrics_are_whole_and_no_knob_loses_a_digit(marked, width):
    text = render(front_table(marked, KNOBS, GAP), width)
    assert all(len(line) <= width for line in text.splitlines())
    body = text.rpartition("─")[2]
    first, second = (line.split()[-8:] for line in body.splitlines() if "0.9" in line)
    assert first == ["0.745", "0.098", "0.647", "0.701", "0.912", "0.543", "13", "1234"]
    assert second == ["0.777", "0.654", "0.123", "0.701", "0.912", "0.543", "13", "1234"]
    shown = ["0123456789ab", "ba9876543210", *["0.812", "1.2e-04", "1.724"] * 2, *first, *second]
    assert sorted("".join(body.split())) == sorted("".join(shown))


@pytest.mark.parametrize("width", [80, 200])
def test_a_line_is_a_trial_from_the_most_forgotten_on(marked, width):
    lines = render(front_table(marked, KNOBS, GAP), width).splitlines()
    assert lines[0].strip() == "Pareto front: 2 of 4 trials"
    assert [line.split()[:5] for line in lines[-2:]] == [
        ["ba9876543210", "0.812", "1.2e-04", "1.724", "0.745"],
        ["0123456789ab", "0.812", "1.2e-04", "1.724", "0.777"],
    ]


def test_only_the_best_feasible_trial_is_bold(marked):
    lines = render(front_table(marked, KNOBS, GAP), 80, colours="truecolor").splitlines()
    assert ["\x1b[1;" in line for line in lines[-2:]] == [True, False]


def test_a_study_without_a_front(trial):
    for rows in ([], [trial("a", status="running"), trial("b", 0.1, 0.0)]):
        lines = render(front_table(rows, KNOBS, GAP), 80).splitlines()
        assert lines[0].strip() == f"Pareto front: 0 of {len(rows)} trials"
        assert lines[-1].startswith("─")


def test_undefined_metrics_are_dashes(marked):
    row = marked[0] | {"retrain_gap": math.nan, "heldout_dice": None}
    last = render(front_table([row], KNOBS, GAP), 80).splitlines()[-1]
    assert last.split()[-5:] == ["–", "0.912", "–", "13", "1234"]  # noqa: RUF001
    assert best_line(row) == (
        "0123456789ab  gap +0.123  retain 0.777  forget 0.654  held-out –  retention 0.912"  # noqa: RUF001
    )


def test_the_strategy_is_told_where_there_are_several(marked):
    alone = render(front_table(marked, KNOBS, GAP), 200)
    marked[2]["strategy"] = "max_loss"
    text = render(front_table(marked, KNOBS, GAP), 200)
    assert "noisy_label" not in alone
    assert [line.split()[:2] for line in text.splitlines()[-2:]] == [
        ["ba9876543210", "max_loss"],
        ["0123456789ab", "noisy_label"],
    ]


def test_knobs_that_no_trial_of_the_front_has_are_left_out(marked):
    for row in marked:
        row["noise_rate"] = None
    marked[1]["noise_rate"] = 0.5  # not on the front
    text = render(front_table(marked, KNOBS, GAP), 200)
    assert "noise" not in text
    assert text.splitlines()[-1].split()[:4] == ["0123456789ab", "1.2e-04", "1.724", "0.777"]


@pytest.mark.parametrize("width", [80, 200])
def test_many_knobs_share_a_column_that_names_those_of_each_trial(marked, width):
    names = ["noise_rate", "lr", "forget_weight", "ceiling", "image", "epochs"]
    for row in marked:
        row |= {"ceiling": None, "image": None}
    marked[0] |= {"ceiling": 3.5, "noise_rate": None}
    marked[2] |= {"image": "uniform"}
    text = render(front_table(marked, names, GAP), width)
    words = text.split()
    assert {"ceiling=3.500", "image=uniform", "noise_rate=0.812"} <= set(words)
    assert words.count("lr=1.2e-04") == 2
    assert words.count("noise_rate=0.812") == 1
    assert all(len(line) <= width for line in text.splitlines())


def test_the_front_of_a_distance_starts_with_the_nearest(marked):
    marked[0]["retrain_gap"], marked[2]["retrain_gap"] = 0.125, 0.25
    table = front_table(marked, KNOBS, OBJECTIVES["retrain"])
    lines = render(table, 200, colours="truecolor").splitlines()[-2:]
    assert [number in line for number, line in zip(("0123456789ab", "ba9876543210"), lines, strict=True)] == [
        True
    ] * 2
    assert ["\x1b[1;" in line for line in lines] == [True, False]
