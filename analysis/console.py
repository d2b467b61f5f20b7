"""What the terminal shows of a study's result."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from analysis import numbers
from analysis.front import best_feasible
from study.records import Objective

_METRICS = {
    "retain": "retain_dice",
    "forget": "forget_dice",
    "gap": "dice_gap",
    "held\nout": "heldout_dice",
    "reten\ntion": "retention",
    "retr.\ngap": "retrain_gap",
}
_MOST_COLUMNS = 4
"""Knobs that get a column each; more of them share one."""

_SAME_AS_DONE = "epochs"
"""A knob that is not shown: a trial of the front has done all of its epochs."""


def front_table(rows: Sequence[Mapping[str, Any]], knobs: Sequence[str], objective: Objective) -> Table:
    """The trials on the front, from the most forgotten on; the best feasible one is bold.

    Args:
        rows: all trial rows of the study, marked.
        knobs: the knobs to show; those without a value on the front are left out.
        objective: of the study.
    """
    front = sorted((row for row in rows if row["on_front"]), key=lambda row: row[objective.forgetting])
    knobs = [name for name in knobs if name != _SAME_AS_DONE and any(row[name] is not None for row in front)]
    best = best_feasible(rows, objective)
    title = f"Pareto front: {len(front)} of {len(rows)} trials"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    several = len({row["strategy"] for row in rows}) > 1
    table.add_column("trial", overflow="fold")  # where a terminal is too narrow, ids and knobs fold
    if several:
        table.add_column("strategy", overflow="fold")
    if len(knobs) > _MOST_COLUMNS:
        table.add_column("recipe")
    else:
        for name in knobs:
            table.add_column(name.replace("_", "\n"), justify="right", overflow="fold")
    for header in [*_METRICS, "ep.", "s"]:
        table.add_column(header, justify="right", no_wrap=True)
    for row in front:
        given = {name: numbers.knob(row[name]) for name in knobs}
        if len(knobs) > _MOST_COLUMNS:
            values = [" ".join(f"{name}={value}" for name, value in given.items() if value != numbers.MISSING)]
        else:
            values = list(given.values())
        values += [numbers.metric(row[column]) for column in _METRICS.values()]
        style = "bold green" if best is not None and row["id"] == best["id"] else None
        names = [row["id"], row["strategy"]] if several else [row["id"]]
        table.add_row(*names, *values, str(row["epochs_done"]), f"{row['seconds']:.0f}", style=style)
    return table


def best_line(row: Mapping[str, Any]) -> str:
    """A trial's result in one line."""
    values = {
        "retain": row["retain_dice"],
        "forget": row["forget_dice"],
        "held-out": row["heldout_dice"],
        "retention": row["retention"],
    }
    metrics = "".join(f"  {name} {numbers.metric(value)}" for name, value in values.items())
    return f"{row['id']}  gap {numbers.metric(row['dice_gap'], signed=True)}{metrics}"
