"""How far what a pick's recipe gives varies with its seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from study.records.rows import NetworkRow

FIGURES = {
    "dice_gap": "gap",
    "retention": "retention",
    "heldout_retention": "held-out retention",
    "forget_dice_views": "forget Dice under views",
    "dice_residual": "residual memory (Dice)",
}
"""What is told of a recipe: metrics and columns of the evidence, in words."""


class Varied(NamedTuple):
    """A figure over the seeds of a recipe; `sd` is NaN for a single one."""

    mean: float
    sd: float
    low: float
    high: float


def varied(repeats: Sequence[NetworkRow]) -> dict[str, Varied]:
    """Each of `FIGURES` that any repeat has; of those that have it."""
    found = {}
    for column in FIGURES:
        values = np.array([value_of(row, column) for row in repeats])
        values = values[np.isfinite(values)]
        if len(values):
            sd = float(values.std(ddof=1)) if len(values) > 1 else np.nan
            found[column] = Varied(float(values.mean()), sd, float(values.min()), float(values.max()))
    return found


def value_of(row: NetworkRow, column: str) -> float:
    """A metric, or a number of the evidence; NaN where there is none, or by a measure that is blind."""
    values = {**row.evidence, **row.metrics}
    return float(values[column]) if column in values and values.get(f"{column}_low") != -np.inf else np.nan
