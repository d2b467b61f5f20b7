"""How figures and tables write their numbers."""

import math

from study.records import Knob

MISSING = "–"  # noqa: RUF001


def metric(value: float | None, signed: bool = False) -> str:
    """Three decimals; a dash for what is undefined."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def knob(value: Knob | None) -> str:
    """Whole numbers and words as they are, small and large fractions as 1.2e-03, others with three decimals."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return MISSING if value is None else str(value)
    return metric(value) if value == 0 or 0.01 <= abs(value) < 1e4 or math.isnan(value) else f"{value:.1e}"
