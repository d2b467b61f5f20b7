"""Which trials are feasible, which of those no other beats, and which is best by the study's objective."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from study.records import FINISHED, Objective


def pareto_front(retain: np.ndarray, forget: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Mark the eligible points that no other eligible point beats: retain Dice up, forgetting's measure down.

    Sorted by that measure, a point is on the front if its retain Dice is the largest among its equals in the measure
    and larger than that of all before them. Exact duplicates stay together; a NaN is never on the front.

    Args:
        retain: (N,) retain Dice.
        forget: (N,) forget Dice, or another measure of forgetting that is better when smaller.
        eligible: (N,) bool, the points that count.

    Returns:
        (N,) bool.
    """
    (points,) = np.nonzero(eligible & np.isfinite(retain) & np.isfinite(forget))
    points = points[np.lexsort((-retain[points], forget[points]))]
    kept, forgotten = retain[points], forget[points]
    best = np.concatenate(([-np.inf], np.maximum.accumulate(kept)))
    equals = np.searchsorted(forgotten, forgotten)  # where each point's group of equal forget Dice begins
    on_front = np.zeros(len(retain), bool)
    on_front[points] = (kept == kept[equals]) & (kept > best[equals])
    return on_front


def mark(rows: Iterable[Mapping[str, Any]], retain_floor: float, objective: Objective) -> list[dict[str, Any]]:
    """The trial rows with `feasible` and `on_front` set.

    Args:
        rows: trial rows; a metric may be NaN or None.
        retain_floor: the least retention of a feasible trial, a fraction of the baseline's retain Dice. A trial
            that has not finished, has diverged or has no retention is not feasible.
        objective: names the measure of forgetting.
    """
    rows = list(rows)
    feasible = np.array([_feasible(row, retain_floor) for row in rows], bool)
    retain, forget = (
        np.array([_number(row[name]) for row in rows]) for name in ("retain_dice", objective.forgetting)
    )
    on_front = pareto_front(retain, forget, feasible)
    return [
        {**row, "feasible": bool(keeps), "on_front": bool(leads)}
        for row, keeps, leads in zip(rows, feasible, on_front, strict=True)
    ]


def best_feasible(rows: Sequence[Mapping[str, Any]], objective: Objective) -> Mapping[str, Any] | None:
    """The feasible trial with the largest score, the first of equals; None if there is none."""
    feasible = [row for row in rows if row["feasible"] and math.isfinite(objective.score(row))]
    return max(feasible, key=objective.score, default=None)


def _feasible(row: Mapping[str, Any], retain_floor: float) -> bool:
    return row["status"] == FINISHED and not row["diverged"] and _number(row["retention"]) >= retain_floor


def _number(value: float | None) -> float:
    return math.nan if value is None else value
