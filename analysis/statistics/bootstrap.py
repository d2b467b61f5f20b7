"""Intervals by the hierarchical bootstrap: training seeds and subjects are both samples, and both are drawn again."""

from typing import NamedTuple

import numpy as np

REPLICATES, LEVEL = 10_000, 0.95


class Interval(NamedTuple):
    """A mean and its 95 % percentile interval; NaN where there is no value."""

    mean: float
    low: float
    high: float


class Resampling:
    """Draws of seeds and of subjects that belong together: what is computed from several tables stays paired.

    An axis (a set's subjects, the seeds, the retrained references) is drawn once for all tables that have it.
    """

    def __init__(self, seed: int = 0, replicates: int = REPLICATES):
        self._rng, self._replicates = np.random.default_rng(seed), replicates
        self._drawn: dict[tuple[str, int], np.ndarray] = {}

    def means(self, values: np.ndarray, rows: str, columns: str) -> np.ndarray:
        """The mean of the table itself, then of each replicate: rows and columns drawn with replacement.

        Args:
            values: (S, N), NaN where undefined.
            rows: name of the first axis (seeds).
            columns: name of the second (subjects).

        Returns:
            (1 + replicates,).
        """
        down, across = self._draw(rows, values.shape[0]), self._draw(columns, values.shape[1])
        resampled = values[down[:, :, None], across[:, None, :]]
        counted = np.isfinite(resampled)
        sums, counts = np.where(counted, resampled, 0).sum((1, 2)), counted.sum((1, 2))
        return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)

    def _draw(self, axis: str, size: int) -> np.ndarray:
        if (axis, size) not in self._drawn:
            drawn = self._rng.integers(0, size, (self._replicates, size))
            self._drawn[axis, size] = np.concatenate([np.arange(size)[None], drawn])
        return self._drawn[axis, size]


def interval(replicates: np.ndarray) -> Interval:
    """The first value, with the percentile interval of the others."""
    drawn = replicates[1:][np.isfinite(replicates[1:])]
    if not drawn.size or not np.isfinite(replicates[0]):
        return Interval(float(replicates[0]), np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(replicates[0]), float(low), float(high))
