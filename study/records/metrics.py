"""The metrics of an epoch and of a trial: a study's table of them says what each is and which way is better."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

SETS = {"retain": "Retain", "forget": "Forget", "heldout": "Held-out"}
"""The sets of subjects that every metric of a scan is averaged over, and their titles."""


class Metric(NamedTuple):
    """A column of floats in the tables of trials and epochs, NaN where undefined (docs/metrics.md).

    Attributes:
        column: its name.
        title: as axes and tables have it.
        unit: of its values; empty for a share or a ratio.
        better: 1 where larger is better, -1 where smaller is, 0 where neither.
        low, high: the ends of its range; None where it has none.
        subset: the set of subjects that it is the mean over; empty for a figure that is derived from others.
    """

    column: str
    title: str
    unit: str = ""
    better: int = 0
    low: float | None = None
    high: float | None = None
    subset: str = ""

    @property
    def name(self) -> str:
        """What is measured, whatever the set."""
        return self.column.removeprefix(f"{self.subset}_") if self.subset else self.column

    @property
    def label(self) -> str:
        """Title and unit, as an axis has them."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


MetricTable = Mapping[str, Metric]
"""Column -> metric, in the order of the tables' columns."""


def of_scans(name: str, title: str, unit: str, better: int, low: float | None, high: float | None) -> list[Metric]:
    """What is measured of a scan, as the metric of each set; of the forget set the other way is better."""
    return [
        Metric(
            f"{subset}_{name}",
            f"{words} {title}",
            unit,
            -better if subset == "forget" else better,
            low,
            high,
            subset,
        )
        for subset, words in SETS.items()
    ]


def metric_table(*groups: Iterable[Metric]) -> dict[str, Metric]:
    """The table of some metrics.

    Raises:
        ValueError: two have the same column.
    """
    metrics = [metric for group in groups for metric in group]
    table = {metric.column: metric for metric in metrics}
    if len(table) < len(metrics):
        columns = [metric.column for metric in metrics]
        raise ValueError(f"two metrics have the column {next(name for name in columns if columns.count(name) > 1)!r}")
    return table


METRICS = metric_table(
    of_scans("dice", "Dice", "", 1, 0, 1),
    of_scans("mae", "MAE", "", -1, 0, 1),
    [
        Metric("dice_gap", "Dice gap", "", 1, -1, 1),
        Metric("mae_gap", "MAE gap", "", 1, -1, 1),
        Metric("retention", "Retention", "", 1, 0, None),
        Metric("retrain_gap", "Retrain gap", "", -1, 0, 1),
        Metric("unseen_gap", "Unseen gap", "", -1, 0, 1),
    ],
)
"""Those that every study has, and the only ones of a study.json that names none."""

_MAIN = (
    *("retain_dice", "forget_dice", "forget_dice_views", "dice_gap"),
    *("heldout_dice", "retention", "heldout_retention", "retrain_gap"),
)
_ASIDE = ("robust_gap", "residual_memory", "residual_distance", "residual_gap")


def added(metrics: MetricTable) -> list[str]:
    """The columns that not every study has."""
    return [column for column in metrics if column not in METRICS]


def shown(metrics: MetricTable) -> list[str]:
    """The columns of a short table: the main ones, then those of metrics that somebody added."""
    main = [column for column in _MAIN if column in metrics]
    return [*main, *(column for column in added(metrics) if column not in (*main, *_ASIDE))]


def label(metrics: MetricTable, column: str) -> str:
    """What an axis over a column says; `seconds` are no metric."""
    return metrics[column].label if column in metrics else column.replace("_", " ").capitalize()


def names_of_scans(metrics: MetricTable) -> list[str]:
    """What is measured of each subject."""
    return list(dict.fromkeys(metric.name for metric in metrics.values() if metric.subset))
