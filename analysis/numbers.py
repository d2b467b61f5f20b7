"""How figures and tables write their numbers."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from study.records.trials import Knob

MISSING = "–"  # noqa: RUF001
ENDS = ("", "_low", "_high")
"""What follows a metric's name in the columns of its mean, and of the ends of its interval."""


def metric(value: float | None, signed: bool = False, digits: int = 3) -> str:
    """A fixed number of decimals; a dash for what is undefined."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:{'+' if signed else ''}.{digits}f}"


def interval(bounds: Iterable[float | None]) -> str:
    """A mean and the ends of its interval, which are unknown where there is one subject."""
    mean, low, high = map(metric, bounds)
    if mean == MISSING:
        return MISSING
    return f"{mean} [unknown]" if low == MISSING == high else f"{mean} [{low}, {high}]"


def interval_of(row: Mapping[str, Any], name: str) -> str:
    """A row's mean and interval, from the metric's three columns."""
    return interval(row[f"{name}{end}"] for end in ENDS)


def steps(value: float | None) -> str:
    """A whole number; a word for more than were tried."""
    if value is None or math.isnan(value):
        return MISSING
    return "never" if math.isinf(value) else f"{value:.0f}"


def evidence(columns: Mapping[str, Any], name: str, unit: str) -> str:
    """A value of the evidence, with its interval or its p where it has one."""
    value, p, low, high = (columns.get(f"{name}{end}") for end in ("", "_p", "_low", "_high"))
    if p is not None:
        return f"{metric(value)} (p {metric(p)})"
    return measured(value, unit) if low is None else interval((value, low, high))


def measured(value: float | None, unit: str) -> str:
    """A value of the evidence: steps as whole numbers, all else as a metric."""
    return steps(value) if unit == "steps" else metric(value)


def knob(value: Knob | None) -> str:
    """Whole numbers and words as they are, small and large fractions as 1.2e-03, others with three decimals."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return MISSING if value is None else str(value)
    return metric(value) if value == 0 or 0.01 <= abs(value) < 1e4 or math.isnan(value) else f"{value:.1e}"


def counted(number: float, noun: str) -> str:
    """So many of them, with the English plural's s."""
    return f"{round(number, 3):g} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Hours and minutes, never less than one."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{max(minutes, 1)} min"
