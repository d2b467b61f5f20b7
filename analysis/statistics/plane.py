"""The plane of forget and retain Dice: how much of it a study covers, where repeated ones reach, a front's knee."""

import math
from collections.abc import Sequence

import numpy as np

from study.records.reading import StudyData


def feasible_points(study: StudyData) -> np.ndarray:
    """(N, 2) forget and retain Dice of a study's feasible trials."""
    points = study.trials.loc[study.trials["feasible"], ["forget_dice", "retain_dice"]].to_numpy(float)
    return points[np.isfinite(points).all(1)]


def covered(study: StudyData) -> float:
    """The hypervolume of a study's feasible trials."""
    forget, retain = feasible_points(study).T
    return hypervolume(retain, forget)


def hypervolume(retain: np.ndarray, forget: np.ndarray) -> float:
    """The area that (N,) points of the unit square dominate, exactly; the reference point is retain 0, forget 1.

    Points with a NaN count for nothing.
    """
    known = np.isfinite(retain) & np.isfinite(forget)
    order = np.argsort(forget[known], kind="stable")
    heights = np.maximum.accumulate(np.clip(retain[known][order], 0, 1)) if known.any() else np.empty(0)
    edges = np.append(np.clip(forget[known][order], 0, 1), 1.0)
    return float((heights * np.diff(edges)).sum())


def attainment(fronts: Sequence[np.ndarray], level: float) -> np.ndarray:
    """The corners of the surface that at least a share of the fronts attain.

    A front attains a point if one of its trials has no more forget and no less retain Dice. Source: Grunert da
    Fonseca, Fonseca and Hall, "Inferential performance assessment of stochastic optimisers and the attainment
    function", EMO 2001.

    Args:
        fronts: (N_i, 2) forget and retain Dice of each study's trials, finite.
        level: share in (0, 1]; 0.5 gives the median surface.

    Returns:
        (M, 2) forget and retain Dice, both rising; empty where too few fronts have any trial.
    """
    forget = np.unique(np.concatenate([front[:, 0] for front in fronts]))
    heights = np.full((len(fronts), len(forget)), -np.inf)
    for row, front in zip(heights, fronts, strict=True):
        np.maximum.at(row, np.searchsorted(forget, front[:, 0]), front[:, 1])
    reached = np.maximum.accumulate(heights, axis=1)
    count = math.ceil(level * len(fronts) - 1e-9)  # 7 / 25 * 25 is more than 7
    height = -np.sort(-reached, axis=0)[count - 1]
    corner = height > np.append(-np.inf, height[:-1])
    return np.stack([forget[corner], height[corner]], axis=1)


def knee(scores: np.ndarray) -> int | None:
    """The place of the point furthest above the line between the front's two ends, both goals scaled to [0, 1].

    There, giving up a little of one goal no longer gains much of the other. Source: Das, "On characterizing the knee
    of the Pareto curve", Structural Optimization 18, 1999.

    Args:
        scores: (N, 2) of a front, larger is better in each column.

    Returns:
        None for a front without a point that lies above the line.
    """
    if len(scores) < 3:
        return None
    low, high = scores.min(0), scores.max(0)
    if (high == low).any():
        return None
    above = ((scores - low) / (high - low)).sum(1) - 1  # the ends are (0, 1) and (1, 0)
    best = int(np.argmax(above))
    return best if above[best] > 1e-9 else None
