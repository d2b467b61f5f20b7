"""The figures that a study is about, derived from an epoch's metrics and the two references (docs/metrics.md)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Metrics = Mapping[str, float]
"""`<set>_<metric>` -> the mean over the set's subjects."""


@dataclass(frozen=True)
class Gap:
    """A derived figure: a function of the metrics of an epoch, of the baseline and of the retrained reference.

    Its other attributes are those of a `ScanMetric`.
    """

    function: Callable[[Metrics, Metrics, Metrics], float]
    title: str
    better: Literal[-1, 0, 1]
    low: float | None = None
    high: float | None = None
    unit: str = ""


def _retention(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> float:
    return epoch["retain_dice"] / baseline["retain_dice"] if baseline["retain_dice"] else math.nan


def _heldout_retention(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> float:
    return epoch["heldout_dice"] / baseline["heldout_dice"] if baseline["heldout_dice"] else math.nan


def _retrain_gap(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> float:
    return abs(epoch["forget_dice"] - retrained["forget_dice"])


def _unseen_gap(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> float:
    """From the steering subjects where there are some, else from the held-out ones."""
    return abs(epoch["forget_dice"] - epoch.get("steering_dice", epoch["heldout_dice"]))


GAPS = {
    "dice_gap": Gap(lambda epoch, *_: epoch["retain_dice"] - epoch["forget_dice"], "Dice gap", 1, -1, 1),
    "robust_gap": Gap(lambda epoch, *_: epoch["retain_dice"] - epoch["forget_dice_views"], "Robust gap", 1, -1, 1),
    "mae_gap": Gap(lambda epoch, *_: epoch["forget_mae"] - epoch["retain_mae"], "MAE gap", 1, -1, 1),
    "retention": Gap(_retention, "Retention", 1, 0),
    "heldout_retention": Gap(_heldout_retention, "Held-out retention", 1, 0),
    "retrain_gap": Gap(_retrain_gap, "Retrain gap", -1, 0, 1),
    "unseen_gap": Gap(_unseen_gap, "Unseen gap", -1, 0, 1),
}
"""The derived figures by name; a new one is one entry."""


def gaps(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> dict[str, float]:
    """Every derived figure of an epoch, NaN where undefined."""
    return {name: gap.function(epoch, baseline, retrained) for name, gap in GAPS.items()}
