"""What the terminal shows of a study's result."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from analysis import numbers
from study.records.front import best_feasible
from study.records.metrics import MetricTable, shown
from study.records.objectives import Objective
from study.records.rows import NetworkRow, TrialRow

_HEADERS = {
    "retain_dice": "retain",
    "forget_dice": "forget",
    "forget_dice_views": "under\nviews",
    "dice_gap": "gap",
    "heldout_dice": "held\nout",
    "retention": "reten\ntion",
    "heldout_retention": "held-o.\nretent.",
    "retrain_gap": "retr.\ngap",
}
_BY_RETENTION, _RETENTION = "heldout_dice", "heldout_retention"
"""The latter says the same of a narrow table's trials."""

_MOST_COLUMNS = 4
"""Knobs that get a column each; more of them share one."""

_SAME_AS_DONE = "epochs"
"""A knob that is not shown: a trial of the front has done all of its epochs."""


def plain_table(title: str = "", padding: int = 1, **options: Any) -> Table:
    """A table without frame, whose columns lie `padding` apart; `options` as of rich's tables."""
    style: dict[str, Any] = {"title_justify": "left", "box": box.SIMPLE_HEAD, "show_edge": False}
    return Table(title=title or None, padding=(0, padding, 0, 0), **style, **options)


def add_numbers(table: Table, headers: Sequence[str]) -> None:
    """Add columns of numbers, which are never cut."""
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)


def front_table(rows: Sequence[TrialRow], knobs: Sequence[str], metrics: MetricTable, objective: Objective) -> Table:
    """The trials on the front, from the most forgotten on; the best feasible one is bold.

    Args:
        rows: all trials of the study, marked.
        knobs: to show, except those that no trial on the front has.
        metrics, objective: of the study.
    """
    front = sorted((row for row in rows if row.on_front), key=lambda row: row.metric(objective.forgetting))
    knobs = [name for name in knobs if name != _SAME_AS_DONE and any(name in row.knobs for row in front)]
    headers = {
        column: _HEADERS.get(column, metrics[column].title.replace(" ", "\n"))
        for column in shown(metrics)
        if column != _BY_RETENTION or _RETENTION not in metrics
    }
    best = best_feasible(rows, objective)
    table = plain_table(f"Pareto front: {len(front)} of {len(rows)} trials", padding=0)
    several = len({row.strategy for row in rows}) > 1
    table.add_column("trial", overflow="fold")  # where a terminal is too narrow, ids and knobs fold
    if several:
        table.add_column("strategy", overflow="fold")
    if len(knobs) > _MOST_COLUMNS:
        table.add_column("recipe")
    else:
        for name in knobs:
            table.add_column(name.replace("_", "\n"), justify="right", overflow="fold")
    add_numbers(table, [*headers.values(), "ep.", "s"])
    for row in front:
        names = [row.id, row.strategy] if several else [row.id]
        values = [numbers.knob(row.knobs.get(name)) for name in knobs]
        if len(knobs) > _MOST_COLUMNS:
            named = zip(knobs, values, strict=True)
            values = [" ".join(f"{name}={value}" for name, value in named if value != numbers.MISSING)]
        values += [numbers.metric(row.metric(column)) for column in headers]
        style = "bold green" if best is not None and row.id == best.id else None
        table.add_row(*names, *values, str(row.epochs_done), f"{row.seconds:.0f}", style=style)
    return table


def best_line(row: TrialRow) -> str:
    """A trial's result in one line."""
    columns = {"retain": "retain_dice", "forget": "forget_dice", "held-out": "heldout_dice", "retention": "retention"}
    metrics = "".join(f"  {name} {numbers.metric(row.metric(column))}" for name, column in columns.items())
    return f"{row.id}  gap {numbers.metric(row.metric('dice_gap'), signed=True)}{metrics}"


def evidence_table(rows: Sequence[NetworkRow]) -> Table:
    """The verdict on each reference and trial that has evidence, and the figures behind it."""
    table = plain_table("Evidence")
    table.add_column("network", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    add_numbers(table, ["forget\nDice", "under\nviews", "memory\nleft <=", "of one\nto +-", "resur\nfaced", "steps"])
    for row in rows:
        if row.examined:
            dice = numbers.metric(row.metric("forget_dice")), numbers.metric(row.evidence.get("dice_views"))
            left, one = (
                numbers.metric(row.evidence.get(name), digits=2) for name in ("memory_left", "memory_of_one")
            )
            returned = row.evidence.get("resurfaced_dice"), row.evidence.get("relearn_steps")
            table.add_row(
                row.id, verdict(row), *dice, left, one, numbers.metric(returned[0]), numbers.steps(returned[1])
            )
    return table


def verdict_lines(rows: Sequence[NetworkRow]) -> list[str]:
    """The verdict on each network that has one, why, and what would tell more."""
    lines = []
    for row in rows:
        if row.evidence.get("reasons"):
            more = row.evidence.get("would_tell")
            lines.append(f"{row.id} {verdict(row)}: {row.evidence['reasons']}" + (f". More: {more}" if more else ""))
    return lines


def verdict(row: NetworkRow) -> str:
    """What the evidence says of a network; in a study of an earlier version, what its prediction interval said."""
    value = row.evidence.get
    if value("verdict"):
        return str(value("verdict"))
    if value("remembers") is None:
        verdict = "unknown"
    else:
        verdict = "remembers" if value("remembers") else "over-forgets" if value("over_forgets") else "as retrained"
    return f"{verdict}, exposed" if value("streisand") else verdict
