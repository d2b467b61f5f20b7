"""Means with intervals by the hierarchical bootstrap: training seeds and subjects are samples, both drawn again."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.numbers import ENDS
from study.records.metrics import added
from study.records.reading import StudyData
from study.records.references import BASELINE

REPLICATES, LEVEL = 10_000, 0.95
COLUMNS = (
    *("retain_dice", "forget_dice", "dice_gap", "retain_mae", "forget_mae", "mae_gap"),
    *("retention", "heldout_dice", "retrain_gap"),
)
"""The metrics that get an interval in every study."""


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
        """(1 + replicates,) means: of the table itself, then with rows and columns drawn with replacement.

        Args:
            values: (S, N), NaN where undefined.
            rows: name of the first axis (seeds).
            columns: name of the second (subjects).
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


def with_bounds(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """`<metric>`, `<metric>_low` and `<metric>_high`."""
    return {
        f"{name}{end}": value for name, bounds in intervals.items() for end, value in zip(ENDS, bounds, strict=True)
    }


def values_after(study: StudyData, ids: list[str], horizon: int) -> pd.DataFrame:
    """The single subjects' rows of these trials after the horizon, or after their last epoch before it."""
    rows = study.subjects[study.subjects["id"].isin(ids) & (study.subjects["epoch"] <= horizon)]
    return rows[rows["epoch"] == rows.groupby("id")["epoch"].transform("max")]


def metric_intervals(study: StudyData, values: pd.DataFrame) -> dict[str, Interval]:
    """`COLUMNS` and the study's further metrics of scans, over single subjects' rows of trials, one epoch of each.

    A draw takes the same subjects of the trials, the baseline and the references.
    """
    draw, subjects = Resampling(), study.subjects

    def means_of(rows: pd.DataFrame, axis: str, subset: str, metric: str) -> np.ndarray:
        table = rows[rows["set"] == subset].pivot(index="id", columns="subject", values=metric)
        return draw.means(table.to_numpy(float), axis, subset)

    means = {
        column: means_of(values, "seeds", metric.subset, metric.name)
        for column, metric in study.metrics.items()
        if metric.subset
    }
    baseline = means_of(subjects[subjects["id"] == BASELINE], "baselines", "retain", "dice")
    references = subjects[subjects["id"].isin(study.selection.report_references)]
    retrained = means_of(references, "references", "forget", "dice")
    with np.errstate(divide="ignore", invalid="ignore"):
        means["retention"] = means["retain_dice"] / baseline
    means["dice_gap"] = means["retain_dice"] - means["forget_dice"]
    means["mae_gap"] = means["forget_mae"] - means["retain_mae"]
    means["retrain_gap"] = np.abs(means["forget_dice"] - retrained)
    further = [column for column in added(study.metrics) if column in means]
    return {name: interval(means[name]) for name in (*COLUMNS, *further)}
