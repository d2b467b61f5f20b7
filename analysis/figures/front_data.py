"""What the Pareto figure shows, as plain data: trials by kind, landmarks, the retain floor and the window."""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from analysis import numbers
from study.records.front import best_feasible
from study.records.reading import StudyData
from study.records.trials import FINISHED, given

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
    """A trial that has a result.

    `forgetting` is the front's other axis, `value` what the search is for; `number` counts the study's trials from 1,
    in the order in which they began.
    """

    number: int
    id: str
    kind: str
    forgetting: float
    retain: float
    value: float
    hover: str


class Landmark(NamedTuple):
    """A point to compare with: a reference of the study, or a published result with its source."""

    name: str
    source: str
    forgetting: float
    retain: float
    hover: str


class ParetoData(NamedTuple):
    """Everything that the figures draw.

    Attributes:
        dots: finished trials with a retain and a forget Dice.
        missing: status -> number of trials that are not among the dots.
        best: the best feasible dot.
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
    forgetting = study.objective.forgetting
    shown = [row["status"] == FINISHED and _finite(row["retain_dice"], row[forgetting]) for row in rows]
    dots = tuple(_dot(i, row, study) for i, row in enumerate(rows, 1) if shown[i - 1])
    hidden = [row["status"] for row, drawn in zip(rows, shown, strict=True) if not drawn]
    best = best_feasible(rows, study.objective)
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


def best_so_far(dots: tuple[Dot, ...], sign: int) -> tuple[list[int], list[float]]:
    """Trial numbers at which the best feasible value (sign -1: smallest) got better, and that value."""
    feasible = [dot for dot in dots if dot.kind in (FRONT, FEASIBLE) and math.isfinite(dot.value)]
    best = [-math.inf, *accumulate((sign * dot.value for dot in feasible), max)]
    rises = [dot for dot, before in zip(feasible, best, strict=False) if sign * dot.value > before]
    return [dot.number for dot in rises], [dot.value for dot in rises]


def _dot(number: int, row: dict[str, Any], study: StudyData) -> Dot:
    kind = DIVERGED if row["diverged"] else FRONT if row["on_front"] else FEASIBLE if row["feasible"] else INFEASIBLE
    values = [f"{name} {numbers.metric(row[column])}" for name, column in _HOVER.items()]
    settings = [f"{name} = {numbers.knob(row[name])}" for name in study.knobs if given(row[name])]
    name = f"<b>trial {number}: {row['id']}</b>, {row['strategy']}, {kind}"
    hover = "<br>".join([name, *values, *settings])
    forgetting, value = row[study.objective.forgetting], row[study.objective.best.column]
    return Dot(number, row["id"], kind, forgetting, row["retain_dice"], value, hover)


def _landmarks(study: StudyData) -> tuple[Landmark, ...]:
    """The references, and the published result where the axis is the forget Dice."""
    retrained = study.references.get("retrained", {}).get("forget_dice", math.nan)
    known: dict[str, Mapping[str, Any]] = {
        name: {
            **point,
            "retrain_gap": abs(point.get("forget_dice", math.nan) - retrained),
            "unseen_gap": abs(point.get("forget_dice", math.nan) - point.get("heldout_dice", math.nan)),
        }
        for name, point in study.references.items()
    }
    if study.published:
        known["published"] = study.published
    return tuple(
        _landmark(name, point, study.objective.forgetting)
        for name, point in known.items()
        if _finite(point.get("retain_dice"), point.get(study.objective.forgetting))
    )


def _landmark(name: str, point: Mapping[str, Any], forgetting: str) -> Landmark:
    source, retain, forget = point.get("source", ""), point["retain_dice"], point["forget_dice"]
    lines = [f"<b>{name}</b>", *([source] if source else [])]
    hover = "<br>".join([*lines, f"retain Dice {numbers.metric(retain)}", f"forget Dice {numbers.metric(forget)}"])
    return Landmark(name, source, point[forgetting], retain, hover)


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
