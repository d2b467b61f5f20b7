"""How much the result moves around a recipe, and the small sweeps that would show more."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from analysis.statistics.importance import domains_of
from study.records.reading import StudyData
from study.records.trials import FINISHED, given

STEP = 0.1
"""The step of slopes and sweeps: a tenth of a knob's range, in decades where it is searched so."""

_METRICS = ("retain_dice", "forget_dice", "dice_gap")
_NEIGHBOURS = 3
"""Neighbouring trials per coefficient of the local fit."""


def sensitivity(study: StudyData, row: Mapping[str, Any]) -> pd.DataFrame:
    """Slopes around a trial: a linear fit to its nearest neighbours, weighted by their nearness.

    Categorical knobs are held: only trials that share them are neighbours.

    Args:
        study: the study's tables.
        row: of the trial, in the trial table.

    Returns:
        One row per numeric knob: `knob`, `value`, then for each of retain Dice, forget Dice and gap the change per
        `STEP` of the knob's range (`<metric>`) and its standard error (`<metric>_error`). Both are NaN where the
        neighbours cannot tell the knob's effect from another's. No rows where there are too few neighbours.
    """
    domains = _numeric(study, row)
    if not domains:
        return pd.DataFrame()
    trials = _comparable(study, row, list(domains))
    places = np.array([trials[name].map(partial(_place, domain)) for name, domain in domains.items()], float).T
    count = (len(domains) + 1) * _NEIGHBOURS
    if len(trials) < count:
        return pd.DataFrame()
    here = np.array([_place(domain, row[name]) for name, domain in domains.items()])
    distances = np.linalg.norm(places - here, axis=1)
    nearest = np.argsort(distances, kind="stable")[:count]
    weights = 1 - (distances[nearest] / (distances[nearest].max() * 1.001 or 1)) ** 2  # Epanechnikov's kernel
    design = np.column_stack([np.ones(count), (places[nearest] - here) / STEP])
    determined = np.isclose(np.diag(np.linalg.pinv(design) @ design), 1)
    slopes: dict[str, Any] = {"knob": list(domains), "value": [row[name] for name in domains]}
    for metric in _METRICS:
        fit = _weighted_fit(design, trials[metric].to_numpy()[nearest], weights)
        own, errors = (np.where(determined, values, np.nan)[1:] for values in fit)
        slopes |= {metric: own, f"{metric}_error": errors}
    return pd.DataFrame(slopes)


def sweeps(study: StudyData, row: Mapping[str, Any]) -> dict[str, list[float | int]]:
    """The values of a small sweep of each numeric knob: the trial's own, and a `STEP` (at least the knob's own) to
    either side."""
    swept = {}
    for name, domain in _numeric(study, row).items():
        place, width = _place(domain, row[name]), max(STEP, (domain.step or 0) / (domain.high - domain.low))
        around = [_value(domain, place + step) for step in (-width, width) if -1e-9 <= place + step <= 1 + 1e-9]
        swept[name] = sorted({*around, row[name]})
    return {name: values for name, values in swept.items() if len(values) > 1}


def _comparable(study: StudyData, row: Mapping[str, Any], knobs: list[str]) -> pd.DataFrame:
    """Finished trials of the row's strategy and words that have these knobs and all metrics."""
    words = [name for name, domain in domains_of(study).items() if isinstance(domain, CategoricalDistribution)]
    trials = study.trials[(study.trials["status"] == FINISHED) & ~study.trials["diverged"]]
    trials = trials[(trials["strategy"] == row["strategy"]) & trials[knobs].notna().all(axis=1)]
    for name in words:
        trials = trials[(trials[name] == row[name]) | (trials[name].isna() & (not given(row[name])))]
    return trials[np.isfinite(trials[list(_METRICS)]).all(axis=1)]


def _weighted_fit(design: np.ndarray, values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients of a weighted least-squares fit, and their standard errors.

    Args:
        design: (N, K), of any rank; of equally good fits the one with the smallest coefficients is taken.
        values: (N,).
        weights: (N,), inverse to the variances up to a factor.
    """
    root = np.sqrt(weights)
    inverse = np.linalg.pinv(root[:, None] * design)
    coefficients = inverse @ (root * values)
    residuals = root * (values - design @ coefficients)
    variance = residuals @ residuals / (len(values) - np.linalg.matrix_rank(design))
    return coefficients, np.sqrt(variance * (inverse**2).sum(1))


def _numeric(study: StudyData, row: Mapping[str, Any]) -> dict[str, FloatDistribution | IntDistribution]:
    """The numbers that are searched, and that this trial has, within their domains."""
    return {
        name: domain
        for name, domain in domains_of(study).items()
        if isinstance(domain, FloatDistribution | IntDistribution) and domain.low < domain.high and given(row[name])
    }


def _place(domain: FloatDistribution | IntDistribution, value: float) -> float:
    """Where a value lies in its domain: 0 is the low end, 1 the high one."""
    low, high = domain.low, domain.high
    if domain.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _value(domain: FloatDistribution | IntDistribution, place: float) -> float | int:
    low, high, place = domain.low, domain.high, min(max(place, 0.0), 1.0)
    value = low * (high / low) ** place if domain.log else low + place * (high - low)
    if domain.step is not None:
        value = low + domain.step * round((value - low) / domain.step)
    return int(value) if isinstance(domain, IntDistribution) else min(max(float(f"{value:.4g}"), low), high)
