"""Which part of the plane of retain and forget Dice repeated studies reach: the empirical attainment function.

Source: Grunert da Fonseca, Fonseca and Hall, "Inferential performance assessment of stochastic optimisers and the
attainment function", EMO 2001.
"""

import math
from collections.abc import Sequence

import numpy as np

from study.records.reading import StudyData


def attainment(fronts: Sequence[np.ndarray], level: float) -> np.ndarray:
    """The corners of the surface that at least a share of the fronts attain.

    A front attains a point if one of its trials has no more forget and no less retain Dice.

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


def feasible_points(study: StudyData) -> np.ndarray:
    """(N, 2) forget and retain Dice of a study's feasible trials."""
    points = study.trials.loc[study.trials["feasible"], ["forget_dice", "retain_dice"]].to_numpy(float)
    return points[np.isfinite(points).all(1)]
