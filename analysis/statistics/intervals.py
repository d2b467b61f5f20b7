"""Means with intervals in which training seeds and subjects are both samples: a jackknife with Student's t."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from analysis.numbers import ENDS
from study.records.metrics import SETS, added
from study.records.reading import StudyData
from study.records.references import BASELINE

LEVEL = 0.95
COLUMNS = (
    *("retain_dice", "forget_dice", "dice_gap", "retain_mae", "forget_mae", "mae_gap"),
    *("retention", "heldout_dice", "retrain_gap"),
)
"""The metrics that get an interval in every study."""


class Interval(NamedTuple):
    """A mean and its 95 % interval; NaN where there is no value, or nothing that tells how far it varies."""

    mean: float
    low: float
    high: float


class Spread(NamedTuple):
    """The variance of an estimate: a part for each kind of sample, with its degrees of freedom; NaN if unknown."""

    variances: np.ndarray
    freedoms: np.ndarray

    def half_width(self, tail: float) -> float:
        """What the estimate exceeds the truth by with a chance of at most `tail`.

        Each part has the t of its own degrees of freedom. Satterthwaite's common t falls short for few samples: it
        covers 0.89 for 8 subjects and 2 networks. Source: Banerjee, Sankhya 22, 1960.
        """
        return float(np.sqrt(np.sum(special.stdtrit(self.freedoms, tail) ** 2 * self.variances)))


class Jackknife:
    """Means without one sample in turn: whatever is computed from several of them stays paired by sample.

    Args:
        networks: name of an axis -> its size. Of a single network an interval is about that network.
        subjects: the same of sets of subjects. A single subject leaves an interval unknown.
    """

    def __init__(self, networks: Mapping[str, int], subjects: Mapping[str, int]):
        sizes = {**networks, **subjects}
        ends = np.cumsum([1, *sizes.values()])
        self._places = dict(zip(sizes, map(slice, ends, ends[1:]), strict=True))
        self._length, self._subjects = ends[-1], subjects

    def means(self, values: np.ndarray, rows: str, columns: str) -> np.ndarray:
        """(1 + samples,) means: of the table, then without each sample of every axis; NaN where nothing is left.

        Args:
            values: (networks, subjects), NaN where undefined.
            rows: name of the first axis.
            columns: name of the second.
        """
        counted = np.isfinite(values)
        known = np.where(counted, values, 0)
        sums, counts = np.full(self._length, known.sum()), np.full(self._length, counted.sum())
        for axis, along in ((rows, 1), (columns, 0)):
            own = counted.sum(along)
            sums[self._places[axis]] -= known.sum(along)
            counts[self._places[axis]] = np.where(own, counts[0] - own, 0)
        return np.divide(sums, counts, out=np.full(self._length, np.nan), where=counts > 0)

    def spread(self, means: np.ndarray) -> Spread:
        """How far the first value varies, by those without a sample."""
        parts = []
        for axis, place in self._places.items():
            left = means[place]
            defined = left[np.isfinite(left)]
            if np.all(left == means[0]):  # it does not depend on them
                continue
            if len(defined) > 1:
                parts.append(((len(defined) - 1) * np.var(defined), len(defined) - 1))
            elif axis in self._subjects:
                parts.append((np.nan, 1))
        variances, freedoms = np.array(parts).reshape(-1, 2).T
        return Spread(variances, freedoms)

    def interval(self, means: np.ndarray, low: float | None = None, high: float | None = None) -> Interval:
        """The first value with its interval, within a range whose ends may be None.

        It is symmetric in the log odds of the range, or in the logarithm where that has a low end alone, and so
        reaches farther away from the end that it is near to, as what is bounded is skewed.
        """
        mean, half = float(means[0]), self.spread(means).half_width((1 - LEVEL) / 2)
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        if half == 0 or not -np.inf < low < mean < high:
            return Interval(mean, mean - half, mean + half)
        above, sides = mean - low, np.array([-1, 1])
        if high == np.inf:
            ends = above * np.exp(sides * half / above)
        else:
            odds = above / (high - mean)
            ends = (high - low) * special.expit(np.log(odds) + sides * half * (1 / above + 1 / (high - mean)))
        return Interval(mean, *map(float, low + ends))


def with_bounds(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """`<metric>`, `<metric>_low` and `<metric>_high`."""
    return {
        f"{name}{end}": value for name, bounds in intervals.items() for end, value in zip(ENDS, bounds, strict=True)
    }


def values_after(study: StudyData, ids: list[str], horizon: int) -> pd.DataFrame:
    """The single subjects' rows of these trials after the horizon, or after their last epoch before it."""
    rows = study.subjects[study.subjects["id"].isin(ids) & (study.subjects["epoch"] <= horizon)]
    return rows[rows["epoch"] == rows.groupby("id")["epoch"].transform("max")]


def crossed(rows: pd.DataFrame, metric: str, index: str, networks: Sequence, subjects: Sequence) -> np.ndarray:
    """(networks, subjects) values of a metric from rows of single subjects; NaN where there is none."""
    table = rows.pivot_table(metric, index, "subject")
    return table.reindex(networks, columns=subjects).to_numpy(float)


def metric_intervals(study: StudyData, values: pd.DataFrame) -> dict[str, Interval]:
    """`COLUMNS` and the study's further metrics of scans, over single subjects' rows of trials, one epoch of each.

    A subject is left out of the trials, the baseline and the references at once.
    """
    subjects = study.subjects
    people = {subset: subjects.loc[subjects["set"] == subset, "subject"].unique() for subset in SETS}
    networks = {"trials": values["id"].unique(), "baseline": [BASELINE]}
    networks["references"] = study.selection.report_references
    jackknife = Jackknife(*({axis: len(labels) for axis, labels in axes.items()} for axes in (networks, people)))

    def means_of(axis: str, subset: str, metric: str) -> np.ndarray:
        rows = values if axis == "trials" else subjects[subjects["id"].isin(networks[axis])]
        table = crossed(rows[rows["set"] == subset], metric, "id", networks[axis], people[subset])
        return jackknife.means(table, axis, subset)

    means = {
        column: means_of("trials", metric.subset, metric.name)
        for column, metric in study.metrics.items()
        if metric.subset
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        means["retention"] = means["retain_dice"] / means_of("baseline", "retain", "dice")
    means["dice_gap"] = means["retain_dice"] - means["forget_dice"]
    means["mae_gap"] = means["forget_mae"] - means["retain_mae"]
    difference = means["forget_dice"] - means_of("references", "forget", "dice")
    found = {
        name: jackknife.interval(of_metric, study.metrics[name].low, study.metrics[name].high)
        for name, of_metric in means.items()
    }
    found["retrain_gap"] = _size(jackknife.interval(difference, -1, 1))
    return {name: found[name] for name in (*COLUMNS, *added(study.metrics)) if name in found}


def _size(signed: Interval) -> Interval:
    """The interval of a value's distance from zero."""
    mean, low, high = map(abs, signed)
    return Interval(mean, 0 if signed.low <= 0 <= signed.high else min(low, high), max(low, high))
