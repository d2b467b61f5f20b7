"""What the searched knobs do to the result: their shares in it, by Optuna's evaluators, and slopes around a trial."""

import json
import math
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution, json_to_distribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

from study.records.metrics import added
from study.records.reading import StudyData
from study.records.rows import TrialRow
from study.records.trials import FINISHED, given

FANOVA, PED_ANOVA = "fANOVA", "PED-ANOVA"
"""Share of the variance over the whole space (Hutter et al., ICML 2014); what tells the best tenth of the trials from
the others (Watanabe et al., IJCAI 2023)."""

LEAST_TRIALS = 10
"""Finished trials below which importance says nothing."""

STEP = 0.1
"""The step of slopes and sweeps: a tenth of a knob's range, in decades where it is searched so."""

_METRICS = ("retain_dice", "forget_dice", "dice_gap")
_NEIGHBOURS = 3
"""Neighbouring trials per coefficient of the local fit."""

_Numeric = FloatDistribution | IntDistribution


def importance(study: StudyData, method: str) -> dict[str, float]:
    """The share of each searched knob in the study's objective, largest first; the shares add up to 1.

    Knobs that some strategies or conditions do not have cannot be compared and are left out. Empty for fewer than
    `LEAST_TRIALS` finished trials, or if nothing that is searched varies.
    """
    goal, domains = study.objective.best, _domains(study)
    rows = [
        row
        for row in _measured(study, [goal.column]).to_dict("records")
        if all(_lies_in(row[name], domain) for name, domain in domains.items())
    ]
    values = {name: [row[name] for row in rows] for name in domains}
    shared = {name for name, cells in values.items() if all(map(given, cells)) and len(set(cells)) > 1}
    if len(rows) < LEAST_TRIALS or not shared or len({row[goal.column] for row in rows}) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    finished = optuna.create_study(direction="maximize" if goal.sign > 0 else "minimize")
    finished.add_trials(
        optuna.trial.create_trial(
            params={name: row[name] for name in domains if name in shared},
            distributions={name: domain for name, domain in domains.items() if name in shared},
            value=row[goal.column],
        )
        for row in rows
    )
    evaluator = FanovaImportanceEvaluator(seed=0) if method == FANOVA else PedAnovaImportanceEvaluator()
    shares = get_param_importances(finished, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def sensitivity(study: StudyData, row: TrialRow) -> pd.DataFrame:
    """Slopes around a trial: a linear fit to its nearest neighbours, weighted by their nearness.

    Only trials that share the trial's categorical knobs are neighbours.

    Returns:
        One row per numeric knob: `knob`, `value`, then for each of retain Dice, forget Dice, gap and the metrics that
        the study adds the change per `STEP` of the knob's range (`<metric>`) and its standard error
        (`<metric>_error`). Both are NaN where the neighbours cannot tell the knob's effect from another's, and where
        the metric is undefined for one of them. No rows where there are too few neighbours.
    """
    domains = _numeric(study, row)
    if not domains:
        return pd.DataFrame()
    trials = _comparable(study, row, list(domains))
    count = (len(domains) + 1) * _NEIGHBOURS
    if len(trials) < count:
        return pd.DataFrame()
    centre, *places = (
        np.array([_place(domain, knobs[name]) for name, domain in domains.items()])
        for knobs in (row.knobs, *trials.to_dict("records"))
    )
    offsets = np.array(places) - centre
    distances = np.linalg.norm(offsets, axis=1)
    nearest = np.argsort(distances, kind="stable")[:count]
    weights = 1 - (distances[nearest] / (distances[nearest].max() * 1.001 or 1)) ** 2  # Epanechnikov's kernel
    design = np.column_stack([np.ones(count), offsets[nearest] / STEP])
    determined = np.isclose(np.diag(np.linalg.pinv(design) @ design), 1)
    slopes: dict[str, Any] = {"knob": list(domains), "value": [row.knobs[name] for name in domains]}
    for metric in (*_METRICS, *added(study.metrics)):
        fit = _weighted_fit(design, trials[metric].to_numpy()[nearest], weights)
        slopes[metric], slopes[f"{metric}_error"] = (np.where(determined, values, np.nan)[1:] for values in fit)
    return pd.DataFrame(slopes)


def sweeps(study: StudyData, row: TrialRow) -> dict[str, list[float | int]]:
    """Numeric knob -> values of a small sweep: the trial's, and a `STEP` (at least the knob's) below and above it."""
    swept = {}
    for name, domain in _numeric(study, row).items():
        value: Any = row.knobs[name]
        place, width = _place(domain, value), max(STEP, (domain.step or 0) / (domain.high - domain.low))
        around = [_value(domain, place + step) for step in (-width, width) if -1e-9 <= place + step <= 1 + 1e-9]
        swept[name] = sorted({*around, value})
    return {name: values for name, values in swept.items() if len(values) > 1}


def _domains(study: StudyData) -> dict[str, BaseDistribution]:
    return {name: json_to_distribution(json.dumps(domain)) for name, domain in study.domains.items()}


def _measured(study: StudyData, metrics: list[str]) -> pd.DataFrame:
    """The trials that have finished, have not diverged, and have all of these metrics."""
    trials = study.trials[(study.trials["status"] == FINISHED) & ~study.trials["diverged"]]
    return trials[np.isfinite(trials[metrics]).all(axis=1)]


def _lies_in(value: Any, domain: BaseDistribution) -> bool:
    """Whether a trial has no value of a knob, or one that is searched."""
    if not given(value):
        return True
    try:
        optuna.trial.create_trial(value=0.0, params={"knob": value}, distributions={"knob": domain})  # checks it
    except ValueError:
        return False
    return True


def _comparable(study: StudyData, row: TrialRow, knobs: list[str]) -> pd.DataFrame:
    """Measured trials of the row's strategy that have these knobs and the row's values of the categorical ones."""
    trials = _measured(study, list(_METRICS))
    trials = trials[(trials["strategy"] == row.strategy) & trials[knobs].notna().all(axis=1)]
    for name, domain in _domains(study).items():
        if not isinstance(domain, _Numeric):
            trials = trials[trials[name] == row.knobs[name] if name in row.knobs else trials[name].isna()]
    return trials


def _weighted_fit(design: np.ndarray, values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (K,) coefficients of a weighted least-squares fit, and their standard errors.

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


def _numeric(study: StudyData, row: TrialRow) -> dict[str, _Numeric]:
    """The numeric knobs that are searched and that this trial has, with their domains."""
    return {
        name: domain
        for name, domain in _domains(study).items()
        if isinstance(domain, _Numeric) and domain.low < domain.high and name in row.knobs
    }


def _place(domain: _Numeric, value: float) -> float:
    """Where a value lies in its domain: 0 is the low end, 1 the high one."""
    low, high = domain.low, domain.high
    if domain.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _value(domain: _Numeric, place: float) -> float | int:
    low, high, place = domain.low, domain.high, min(max(place, 0.0), 1.0)
    value = low * (high / low) ** place if domain.log else low + place * (high - low)
    if domain.step is not None:
        value = low + domain.step * round((value - low) / domain.step)
    return int(value) if isinstance(domain, IntDistribution) else min(max(float(f"{value:.4g}"), low), high)
