"""Tests between recipes and against retrained references; what is repeated is the trained network."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize, stats

from analysis.numbers import counted
from analysis.statistics.intervals import Jackknife

LEVEL = 0.05
EQUIVALENCE_MARGIN = 0.02
"""Dice within which a network counts as equivalent to the retrained one."""

_TINY = 1e-12
"""The least p that is told from 0."""


def sign_flip(differences: np.ndarray) -> float:
    """Two-sided p of (N,) paired differences, without NaN, under random signs.

    Exact up to 16 units, else from 100,000 draws.
    """
    if len(differences) < 2:
        return 1.0  # of one unit, both signs are as extreme
    options: dict[str, Any] = {"n_resamples": 100_000, "batch": 10_000, "rng": 0}
    test = stats.permutation_test((differences,), np.mean, permutation_type="samples", vectorized=True, **options)
    return float(test.pvalue)


def smallest_p(units: int) -> float:
    """The least two-sided p that `sign_flip` can give: two of 2 to the power of `units` choices of signs."""
    return min(1.0, 2 / 2**units)


def reach(runs: int, pairs: int) -> str:
    """What tests between pairs of recipes can come to at best, in words."""
    least = smallest_p(runs)
    if least == 1:
        return "Of one run nothing can be tested."
    words = f"{counted(runs, 'run')}: p cannot fall below {least:.2g}"
    if pairs > 1:
        words += f", and after Holm's correction for {pairs} pairs below {min(1.0, pairs * least):.2g}"
    return words + (f", so no test between recipes can reach {LEVEL}." if max(pairs, 1) * least >= LEVEL else ".")


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's correction for several tests: the adjusted p-values, in the same order.

    The smallest of N is multiplied by N, the next by N - 1 and so on; none becomes smaller than the one before it.
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * np.asarray(p_values, float)[order]), 1)
    return adjusted


def equivalence(own: np.ndarray, references: np.ndarray, margin: float = EQUIVALENCE_MARGIN) -> float:
    """p of two one-sided tests (TOST): small if a network's mean lies within the margin of the retrained networks'.

    Their mean is an estimate, as is that over subjects: both spreads count. NaN for fewer than two of either.

    Args:
        own: (N,) values of the subjects under the network.
        references: (R, N) the same under retrained networks.
    """
    if len(references) < 2:
        return np.nan
    jackknife = Jackknife({"own": 1, "references": len(references)}, {"subjects": len(own)})
    differences = jackknife.means(own[None], "own", "subjects")
    differences = differences - jackknife.means(references, "references", "subjects")
    spread, distance = jackknife.spread(differences), margin - abs(differences[0])
    if not np.isfinite(distance + spread.half_width(LEVEL)):
        return np.nan

    def excess(tail: float) -> float:
        return spread.half_width(tail) - abs(distance)

    tail = optimize.brentq(excess, _TINY, 0.5) if excess(_TINY) > 0 else 0.0
    return tail if distance > 0 else 1 - tail
