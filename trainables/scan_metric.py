"""A metric: what is measured of each scan, and how its values are to be read."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from torch import Tensor

from trainables.registry import Registry


@dataclass(frozen=True)
class ScanMetric:
    """What is measured of each scan, under the name of its file or entry point.

    Attributes:
        function: (B, C, D, H, W) probabilities and (B, D, H, W) labels to (B,) values, NaN where undefined.
        title: as it stands behind the name of a set, as in `Retain Dice`.
        better: 1 where larger is better, -1 where smaller is, 0 where neither.
        low, high: the ends of its range; None where it has none.
        unit: of its values; empty for a share or a ratio.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    title: str
    better: Literal[-1, 0, 1]
    low: float | None = None
    high: float | None = None
    unit: str = ""


SCAN_METRICS = Registry("metric", "trainables.metrics", "lethe.metrics", ScanMetric, attribute="METRIC")


@cache
def scan_metrics() -> dict[str, ScanMetric]:
    """Every metric that there is, by its name.

    Raises:
        ValueError: one cannot be imported, is none, has the name of another, or a name that no column can have.
    """
    wrong = [name for name in SCAN_METRICS.names() if not name.isidentifier()]
    if wrong:
        raise ValueError(f"metric {wrong[0]!r}: a name is made of letters, digits and _")
    return {name: SCAN_METRICS.load(name) for name in SCAN_METRICS.names()}
