"""What the terminal shows of a study's result."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from analysis import numbers
from study.records.front import best_feasible
from study.records.objectives import Objective

_METRICS = {
    "retain": "retain_dice",
    "forget": "forget_dice",
    "gap": "dice_gap",
    "held\nout": "heldout_dice",
    "reten\ntion": "retention",
    "retr.\ngap": "retrain_gap",
}
_AUCS = {"loss": "loss_auc", "LiRA": "lira_auc", "probe": "probe_auc"}
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
        recipe = {name: numbers.knob(row[name]) for name in knobs}
        if len(knobs) > _MOST_COLUMNS:
            values = [" ".join(f"{name}={value}" for name, value in recipe.items() if value != numbers.MISSING)]
        else:
            values = list(recipe.values())
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


def evidence_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The verdict on each reference and trial that has evidence, and the measures behind it.

    Args:
        rows: of references and trials, with `forget_dice` and the evidence columns.
    """
    table = Table(title="Evidence", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("network", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for header in ("forget\nDice", "retrained\n95 %", *(f"{name}\nAUC" for name in _AUCS), "resur\nfaced", "steps"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        if row["evidence"] is None:
            continue
        low, high = (numbers.metric(row[f"retrained_{end}"], digits=2) for end in ("low", "high"))
        aucs = [numbers.metric(row[column], digits=2) for column in _AUCS.values()]
        resurfaced, steps = numbers.metric(row["resurfaced_dice"]), numbers.steps(row["relearn_steps"])
        forget = numbers.metric(row["forget_dice"])
        table.add_row(row["id"], verdict(row), forget, f"{low} {high}", *aucs, resurfaced, steps)
    return table


def verdict(row: Mapping[str, Any]) -> str:
    """What the prediction interval of the retrained references says of a network, and the Streisand test."""
    if row["remembers"] is None:
        verdict = "unknown"
    else:
        verdict = "remembers" if row["remembers"] else "over-forgets" if row["over_forgets"] else "as retrained"
    return f"{verdict}, exposed" if row["streisand"] else verdict
