"""The metrics of trials with intervals over seeds and subjects."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analysis.statistics.bootstrap import Interval, Resampling, interval
from study.records.metrics import added
from study.records.reading import StudyData
from study.records.references import BASELINE

COLUMNS = (
    *("retain_dice", "forget_dice", "dice_gap", "retain_mae", "forget_mae", "mae_gap"),
    *("retention", "heldout_dice", "retrain_gap"),
)
"""The metrics that get an interval in every study."""


def values_after(study: StudyData, ids: list[str], horizon: int) -> pd.DataFrame:
    """The single subjects' rows of these trials after the horizon, or after their last epoch before it."""
    rows = study.subjects[study.subjects["id"].isin(ids) & (study.subjects["epoch"] <= horizon)]
    return rows[rows["epoch"] == rows.groupby("id")["epoch"].transform("max")]


def metric_intervals(study: StudyData, values: pd.DataFrame) -> dict[str, Interval]:
    """`COLUMNS` and the study's further metrics of scans, of some trials, with their intervals.

    A draw takes the same subjects of the trials, the baseline and the references.

    Args:
        study: whose references are compared with.
        values: single subjects' rows of the trials, one epoch of each.
    """
    draw = Resampling()
    means = {
        column: draw.means(_pivot(values, metric.subset, metric.name), "seeds", metric.subset)
        for column, metric in study.metrics.items()
        if metric.subset
    }
    baselines = study.subjects[study.subjects["id"] == BASELINE]
    references = study.subjects[study.subjects["id"].isin(study.selection["report_references"])]
    baseline = draw.means(_pivot(baselines, "retain", "dice"), "baselines", "retain")
    retrained = draw.means(_pivot(references, "forget", "dice"), "references", "forget")
    with np.errstate(divide="ignore", invalid="ignore"):
        means["retention"] = means["retain_dice"] / baseline
    means["dice_gap"] = means["retain_dice"] - means["forget_dice"]
    means["mae_gap"] = means["forget_mae"] - means["retain_mae"]
    means["retrain_gap"] = np.abs(means["forget_dice"] - retrained)
    others = [column for column in added(study.metrics) if column in means]
    return {name: interval(means[name]) for name in (*COLUMNS, *others)}


def _pivot(rows: pd.DataFrame, subset: str, metric: str) -> np.ndarray:
    """(ids, subjects) values of a set."""
    subjects = rows[rows["set"] == subset]
    return subjects.pivot(index="id", columns="subject", values=metric).to_numpy(float)


def with_bounds(intervals: Mapping[str, Interval]) -> dict[str, float]:
    """`<metric>`, `<metric>_low` and `<metric>_high`."""
    return {
        f"{name}{end}": value
        for name, bounds in intervals.items()
        for end, value in zip(("", "_low", "_high"), bounds, strict=True)
    }
