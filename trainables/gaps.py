"""The figures that a study is about, derived from an epoch's metrics and the two references (docs/metrics.md)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

_SAME = 1e-6
"""Difference of two references from which on they are told apart."""

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


def _residual(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> float:
    """1: as the baseline, 0: as the steering retrained reference; the mean over three metrics of the forget subjects.

    NaN where one does not tell the two references apart.
    """
    residuals = []
    for column in ("forget_dice", "forget_dice_views", "forget_mae"):
        value, seen, never = (metrics.get(column, math.nan) for metrics in (epoch, baseline, retrained))
        residuals.append((value - never) / (seen - never) if abs(seen - never) > _SAME else math.nan)
    return fmean(residuals)


def _residual_gap(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> float:
    return epoch["retain_dice"] - abs(_residual(epoch, baseline, retrained))


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
    "residual_memory": Gap(_residual, "Residual memory", 0),
    "residual_distance": Gap(lambda *networks: abs(_residual(*networks)), "|Residual memory|", -1, 0),
    "residual_gap": Gap(_residual_gap, "Retain Dice - |residual memory|", 1, None, 1),
    "retrain_gap": Gap(_retrain_gap, "Retrain gap", -1, 0, 1),
    "unseen_gap": Gap(_unseen_gap, "Unseen gap", -1, 0, 1),
}
"""The derived figures by name; a new one is one entry."""


def gaps(epoch: Metrics, baseline: Metrics, retrained: Metrics) -> dict[str, float]:
    """Every derived figure of an epoch, NaN where undefined."""
    return {name: gap.function(epoch, baseline, retrained) for name, gap in GAPS.items()}
