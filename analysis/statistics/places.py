"""The place of a subject's score among networks that never saw the subject, and among networks that did.

An attack's AUC compares different people, of whom some are harder. Here it is the same person under many networks,
and what a network is worse at for everybody is taken away: all are compared at the level of the one that is judged.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.statistics.membership import comparisons


class Place(NamedTuple):
    """Where a network's score of a subject lies; larger scores speak for memory.

    Attributes:
        value: the score.
        never_seen: the smallest and the largest of networks that never saw the subject, at the network's level.
        seen: the same of networks that did.
        above_never_seen: how many of the former it exceeds (ties count half), and how many there are.
        above_seen: the same of the latter.
        likelihood_ratio: how much likelier the score is among the latter than among the former; NaN where nothing
            tells how they spread.
    """

    value: float
    never_seen: tuple[float, float]
    seen: tuple[float, float]
    above_never_seen: tuple[float, int]
    above_seen: tuple[float, int]
    likelihood_ratio: float


def places(own: np.ndarray, networks: np.ndarray, had: np.ndarray, forget: int) -> list[Place]:
    """The place of each forget subject's score.

    A network's level is the mean over the held-out subjects that it never saw of how far each lies from what all such
    networks give for it. Without any the network is left out, unless nobody is held out.

    Args:
        own: (S,) scores of the forget and then the held-out subjects under the network that is judged.
        networks: (N, S) under others; NaN where undefined.
        had: (N, S) whether a network was taught the subject.
        forget: number of forget subjects.
    """
    level, levels = _levels(own[forget:], np.where(had, np.nan, networks)[:, forget:])
    alike, seen = (networks - levels[:, None] + level)[:, :forget].T, had[:, :forget].T
    worlds = [(row[~of & np.isfinite(row)], row[of & np.isfinite(row)]) for row, of in zip(alike, seen, strict=True)]
    groups = [group for pair in worlds for group in pair if len(group)]
    freedom = sum(len(group) - 1 for group in groups)
    spread = np.sqrt(sum(np.square(group - group.mean()).sum() for group in groups) / freedom) if freedom else np.nan
    return [_place(float(value), *pair, spread, freedom) for value, pair in zip(own[:forget], worlds, strict=True)]


def _levels(own: np.ndarray, networks: np.ndarray) -> tuple[float, np.ndarray]:
    """The level of the (H,) own scores and of each of (N, H) others."""
    if not len(own):
        return 0.0, np.zeros(len(networks))
    rows = np.ma.masked_invalid(np.vstack([own, networks]))
    own_level, *levels = (rows - rows[1:].mean(0)).mean(1).filled(np.nan)
    return float(own_level), np.array(levels)


def _place(value: float, never: np.ndarray, seen: np.ndarray, spread: float, freedom: int) -> Place:
    def above(group: np.ndarray) -> tuple[float, int]:
        return float(comparisons(np.array([value]), group).sum()), len(group)

    def log_density(group: np.ndarray) -> float:
        """Of one more network, by Student's t: how far groups of so few spread is an estimate, and so is the mean."""
        if not (len(group) and spread > 0):
            return np.nan
        return float(stats.t.logpdf(value, freedom, group.mean(), spread * np.sqrt(1 + 1 / len(group))))

    ratio = float(np.exp(log_density(seen) - log_density(never)))
    return Place(value, _ends(never), _ends(seen), above(never), above(seen), ratio)


def _ends(group: np.ndarray) -> tuple[float, float]:
    return (float(group.min()), float(group.max())) if len(group) else (np.nan, np.nan)
