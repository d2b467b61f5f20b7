"""Which trials are feasible, which of those no other beats, and which is best by the study's objective."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from study.records.constraints import Constraint, violations
from study.records.failure import StudyError
from study.records.objectives import Objective
from study.records.rows import TrialRow
from study.records.trials import FINISHED


def pareto_front(scores: np.ndarray) -> np.ndarray:
    """Mark the points that no other point beats.

    A point beats another if it is at least as good in every column and better in one. Exact duplicates stay together;
    a point with a NaN is never on the front.

    Args:
        scores: (N, K), larger is better in each column.

    Returns:
        (N,) bool.
    """
    (points,) = np.nonzero(np.isfinite(scores).all(1))
    order = points[np.lexsort(-scores[points].T[::-1])]  # whoever beats a point comes before it
    leading: list[int] = []
    for point in order:
        others = scores[leading]
        beaten = (others >= scores[point]).all(1) & (others > scores[point]).any(1)
        if not beaten.any():
            leading.append(point)
    on_front = np.zeros(len(scores), bool)
    on_front[leading] = True
    return on_front


def mark(rows: Sequence[TrialRow], constraints: Sequence[Constraint], objective: Objective) -> list[TrialRow]:
    """The trials with `feasible` and `on_front` set; one that has not finished, or has diverged, is not feasible."""
    feasible = np.array([_feasible(row, constraints) for row in rows], bool)
    scores = np.array([[goal.score(row.results) for goal in objective.front] for row in rows])
    scores = scores.reshape(len(rows), len(objective.front))
    on_front = pareto_front(np.where(feasible[:, None], scores, np.nan))
    return [
        replace(row, feasible=bool(keeps), on_front=bool(leads))
        for row, keeps, leads in zip(rows, feasible, on_front, strict=True)
    ]


def best_feasible(rows: Iterable[TrialRow], objective: Objective) -> TrialRow | None:
    """The feasible trial with the largest score, of equals the first on the front; None if there is none."""
    feasible = [row for row in rows if row.feasible and math.isfinite(objective.score(row.results))]
    return max(feasible, key=lambda row: (objective.score(row.results), row.on_front), default=None)


def closest_feasible(rows: Iterable[TrialRow]) -> TrialRow | None:
    """The feasible trial whose forget Dice lies nearest to the steering retrained reference's; None if there is none.

    On its way from the baseline to what a study searches for, nearly every trial passes the level of a network that
    never saw the forget subjects.
    """
    feasible = [row for row in rows if row.feasible and math.isfinite(row.metric("retrain_gap"))]
    return min(feasible, key=lambda row: row.metric("retrain_gap"), default=None)


def picks(rows: Sequence[TrialRow], objective: Objective) -> dict[str, TrialRow]:
    """The trials that somebody may want to ship: `best` by the objective, and `closest`; of those that there are."""
    named = {"best": best_feasible(rows, objective), "closest": closest_feasible(rows)}
    return {name: row for name, row in named.items() if row is not None}


def kept(rows: Sequence[TrialRow], objective: Objective) -> set[str]:
    """The ids of the trials whose weights a study keeps: the front's, and its picks'."""
    return {row.id for row in rows if row.on_front} | {row.id for row in picks(rows, objective).values()}


def named_or_picked(rows: Sequence[TrialRow], objective: Objective, trial: str = "", pick: str = "best") -> TrialRow:
    """The finished trial of that id; without one the pick, `best` or `closest`.

    Raises:
        StudyError: there is none.
    """
    finished = {row.id: row for row in rows if row.status == FINISHED}
    if trial:
        if trial not in finished:
            raise StudyError(f"--trial: no finished trial {trial!r}; there are {', '.join(finished) or 'none'}")
        return finished[trial]
    picked = picks(rows, objective).get(pick)
    if picked is None:
        raise StudyError("no trial is feasible; give the study more, or name one with --trial")
    return picked


def _feasible(row: TrialRow, constraints: Sequence[Constraint]) -> bool:
    if row.status != FINISHED or row.diverged:
        return False
    return all(violation <= 0 for violation in violations(constraints, row.results, row.diverged).values())
