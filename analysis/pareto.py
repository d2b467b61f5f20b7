"""What the Pareto figure shows, as plain data: trials by kind, landmarks, the retain floor and the window."""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from analysis import numbers
from analysis.front import best_feasible
from analysis.tables import StudyData
from study.records import FINISHED

FRONT, FEASIBLE, INFEASIBLE, DIVERGED = "on the front", "other feasible", "infeasible", "diverged"
"""The kinds of a trial that has a result."""

_LEAST_SPAN = 0.1
_HOVER = {
    "gap": "dice_gap",
    "retain Dice": "retain_dice",
    "forget Dice": "forget_dice",
    "held-out Dice": "heldout_dice",
    "retention": "retention",
    "MAE gap": "mae_gap",
}


class Dot(NamedTuple):
    """A trial that has a result; `number` counts the study's trials from 1, in the order in which they began."""

    number: int
    id: str
    kind: str
    forget: float
    retain: float
    gap: float
    hover: str


class Landmark(NamedTuple):
    """A point to compare with: a reference of the study, or a published result with its source."""

    name: str
    source: str
    forget: float
    retain: float
    hover: str


class ParetoData(NamedTuple):
    """Everything that the figures draw.

    Attributes:
        dots: finished trials with a retain and a forget Dice.
        missing: status -> number of trials that are not among the dots.
        best: the feasible dot with the largest gap.
        landmarks: baseline, retrained and published, as far as they are known.
        floor: least feasible retain Dice; NaN without a baseline.
        window: lowest and highest retain Dice to show. It frames the feasible trials and the landmarks, so that
            collapsed trials, which may lie below, do not squeeze them.
    """

    dots: tuple[Dot, ...]
    missing: dict[str, int]
    best: Dot | None
    landmarks: tuple[Landmark, ...]
    floor: float
    window: tuple[float, float]


def pareto_data(study: StudyData) -> ParetoData:
    """Gather what the figures of a study show."""
    rows = study.trials.to_dict("records")
    shown = [row["status"] == FINISHED and _finite(row["retain_dice"], row["forget_dice"]) for row in rows]
    dots = tuple(_dot(i, row, study.knobs) for i, row in enumerate(rows, 1) if shown[i - 1])
    hidden = [row["status"] for row, drawn in zip(rows, shown, strict=True) if not drawn]
    best = best_feasible(rows)
    floor = study.retain_floor * study.references.get("baseline", {}).get("retain_dice", math.nan)
    landmarks = _landmarks(study)
    return ParetoData(
        dots=dots,
        missing={status: hidden.count(status) for status in dict.fromkeys(hidden)},
        best=next((dot for dot in dots if best is not None and dot.id == best["id"]), None),
        landmarks=landmarks,
        floor=floor,
        window=_window(dots, landmarks, floor),
    )


def best_so_far(dots: tuple[Dot, ...]) -> tuple[list[int], list[float]]:
    """Trial numbers at which the largest feasible gap rose, and that gap."""
    feasible = [dot for dot in dots if dot.kind in (FRONT, FEASIBLE) and math.isfinite(dot.gap)]
    best = [-math.inf, *accumulate((dot.gap for dot in feasible), max)]
    rises = [dot for dot, before in zip(feasible, best, strict=False) if dot.gap > before]
    return [dot.number for dot in rises], [dot.gap for dot in rises]


def _dot(number: int, row: dict[str, Any], knobs: dict[str, str]) -> Dot:
    kind = DIVERGED if row["diverged"] else FRONT if row["on_front"] else FEASIBLE if row["feasible"] else INFEASIBLE
    values = [f"{name} {numbers.metric(row[column])}" for name, column in _HOVER.items()]
    settings = [f"{name} = {numbers.knob(row[name])}" for name in knobs]
    hover = "<br>".join([f"<b>trial {number}: {row['id']}</b>, {kind}", *values, *settings])
    return Dot(number, row["id"], kind, row["forget_dice"], row["retain_dice"], row["dice_gap"], hover)


def _landmarks(study: StudyData) -> tuple[Landmark, ...]:
    known = {**study.references, **({"published": study.published} if study.published else {})}
    return tuple(
        _landmark(name, point)
        for name, point in known.items()
        if _finite(point.get("retain_dice"), point.get("forget_dice"))
    )


def _landmark(name: str, point: Mapping[str, Any]) -> Landmark:
    source, retain, forget = point.get("source", ""), point["retain_dice"], point["forget_dice"]
    lines = [f"<b>{name}</b>", *([source] if source else [])]
    hover = "<br>".join([*lines, f"retain Dice {numbers.metric(retain)}", f"forget Dice {numbers.metric(forget)}"])
    return Landmark(name, source, forget, retain, hover)


def _window(dots: tuple[Dot, ...], landmarks: tuple[Landmark, ...], floor: float) -> tuple[float, float]:
    """Frame feasible trials, landmarks and floor, with room below the floor; without any feasible trial, all."""
    feasible = [dot.retain for dot in dots if dot.kind in (FRONT, FEASIBLE)]
    framed = [*(feasible or [dot.retain for dot in dots]), *(mark.retain for mark in landmarks)]
    framed += [floor] if math.isfinite(floor) else []
    low, high = min(framed, default=0.0), max([*framed, *(dot.retain for dot in dots)], default=1.0)
    span = max(high - low, _LEAST_SPAN)
    return max(low - 0.4 * span, -0.03), min(high + 0.12 * span, 1.02)


def _finite(*values: float | None) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)
