"""What all attacks on membership have in common: a question, a column for the AUC and two for its interval."""

import numpy as np

from analysis.statistics import membership
from analysis.statistics.bootstrap import Interval
from study.records.evidence import EvidenceColumn

_QUESTION = "Can an attack tell them from subjects it never saw? (AUC, 0.5: no)"


def auc_columns(name: str, title: str) -> dict[str, EvidenceColumn]:
    """`<name>`, `<name>_low` and `<name>_high`."""
    shown = EvidenceColumn("float", title, _QUESTION, "as retrained, 0.5 if both groups are equally hard")
    return {name: shown, f"{name}_low": EvidenceColumn(), f"{name}_high": EvidenceColumn()}


def auc_values(name: str, compared: np.ndarray) -> dict[str, float]:
    """The columns' values.

    Args:
        name: of the first column.
        compared: (N, M), as `membership.comparisons` gives it.
    """
    return bounded(name, membership.auc(compared))


def bounded(name: str, interval: Interval) -> dict[str, float]:
    """A mean and its interval under the columns' names."""
    return {f"{name}{end}": value for end, value in zip(("", "_low", "_high"), interval, strict=True)}
