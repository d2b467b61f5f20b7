"""Deletion requests: what the table says after each step, from values whose meaning can be read off."""

import math

import pandas as pd
import pytest

from analysis.figures.requests import requests_figure, requests_frame
from analysis.reports.tables import terminal_requests, write_requests

METHODS = ("sequential", "one-shot", "retrained")


def value(step, method, subset):
    """A Dice that tells where it comes from."""
    places = {"retain": 0.8, "heldout": 0.6, "forget": 0.1}
    base = places.get(subset, int(subset[8:]) / 100 if "-" in subset else 0)
    return base + METHODS.index(method) / 1000 + step / 10_000


def requests(steps=3, order=METHODS):
    rows = []
    for step in range(steps, 0, -1):
        for method in order:
            asked = [f"request-{number}" for number in range(1, step + 1)]
            for subset in ("retain", "forget", "heldout", *asked):
                row = {"step": step, "method": method, "trial": "n0", "set": subset}
                rows.append({**row, "metric": "dice", "value": value(step, method, subset)})
                rows.append({**row, "metric": "mae", "value": 9.0})
    return rows


@pytest.fixture
def sequence(suite_study):
    return suite_study(requests=requests(order=("retrained", "sequential", "one-shot")))


def test_a_row_for_each_step_and_method_in_order(sequence):
    frame = requests_frame(sequence)
    assert list(frame) == [
        *("step", "method", "trial", "retain_dice", "retention", "heldout_dice", "forget_dice"),
        *("request_1_dice", "request_2_dice", "request_3_dice"),
    ]
    assert [(row.step, row.method) for row in frame.itertuples()] == [(s, m) for s in (1, 2, 3) for m in METHODS]
    assert set(frame["trial"]) == {"n0"}
    for row in frame.to_dict("records"):
        given = {name: value(row["step"], row["method"], name) for name in ("retain", "heldout", "forget")}
        assert {name: row[f"{name}_dice"] for name in given} == pytest.approx(given)
        assert row["retention"] == pytest.approx(given["retain"] / 0.88)  # the baseline's
        for number in (1, 2, 3):
            found = row[f"request_{number}_dice"]
            assert (
                math.isnan(found)
                if number > row["step"]
                else found == pytest.approx(value(row["step"], row["method"], f"request-{number}"))
            )


def test_the_tenth_request_follows_the_ninth(suite_study):
    frame = requests_frame(suite_study(requests=requests(11)))
    assert list(frame)[7:] == [f"request_{number}_dice" for number in range(1, 12)]
    assert frame["step"].tolist() == [step for step in range(1, 12) for _ in METHODS]


def test_the_figure_has_retain_and_forget_dice_of_every_method(sequence):
    frame = requests_frame(sequence)
    drawn = {trace.name: (list(trace.x), list(trace.y)) for trace in requests_figure(sequence, frame).data}
    expected = {
        f"{method}: {subset}": ([1, 2, 3], [pytest.approx(value(step, method, subset)) for step in (1, 2, 3)])
        for method in METHODS
        for subset in ("retain", "forget")
    }
    assert drawn == expected


def test_files_and_terminal_say_the_same(sequence, tmp_path, printed):
    write_requests(sequence, tmp_path)
    read = pd.read_csv(tmp_path / "requests_table.csv")
    pd.testing.assert_frame_equal(read, requests_frame(sequence), check_dtype=False, check_names=False)
    first, *_, last = (tmp_path / "requests_table.md").read_text().splitlines()[2:]
    cells = [f"{number:.3f}" for number in (0.8001, 0.8001 / 0.88, 0.6001, 0.1001, 0.0101)]
    assert [cell.strip() for cell in first.strip("|").split("|")] == ["1", "sequential", *cells, "–", "–"]  # noqa: RUF001
    assert "–" not in last  # noqa: RUF001
    page = (tmp_path / "requests_table.html").read_text()
    assert all(f"<td>{cell}</td>" in page for cell in cells)
    lines = [line.split() for line in printed(terminal_requests(sequence), 80).splitlines()]
    assert ["1", "sequential", *cells, "–", "–"] in lines  # noqa: RUF001
    assert sum(bool({*METHODS} & {*line}) for line in lines) == 9
