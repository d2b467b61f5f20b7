"""What the terminal shows of a study's result."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from analysis import numbers
from analysis.front import best_feasible

_METRICS = {
    "retain": "retain_dice",
    "forget": "forget_dice",
    "gap": "dice_gap",
    "held\nout": "heldout_dice",
    "reten\ntion": "retention",
    "retr.\ngap": "retrain_gap",
}
_SAME_AS_DONE = "epochs"
"""A knob that is not shown: a trial of the front has done all of its epochs."""


def front_table(rows: Sequence[Mapping[str, Any]], knobs: Sequence[str]) -> Table:
    """The trials on the front, from the most forgotten on; the best feasible one is bold.

    Args:
        rows: all trial rows of the study, marked.
        knobs: the knobs to show.
    """
    knobs = [name for name in knobs if name != _SAME_AS_DONE]
    front = sorted((row for row in rows if row["on_front"]), key=lambda row: row["forget_dice"])
    best = best_feasible(rows)
    title = f"Pareto front: {len(front)} of {len(rows)} trials"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column("trial", overflow="fold")  # where a terminal is too narrow, ids and knobs fold
    for name in knobs:
        table.add_column(name.replace("_", "\n"), justify="right", overflow="fold")
    for header in [*_METRICS, "ep.", "s"]:
        table.add_column(header, justify="right", no_wrap=True)
    for row in front:
        values = [numbers.knob(row[name]) for name in knobs]
        values += [numbers.metric(row[column]) for column in _METRICS.values()]
        style = "bold green" if best is not None and row["id"] == best["id"] else None
        table.add_row(row["id"], *values, str(row["epochs_done"]), f"{row['seconds']:.0f}", style=style)
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
