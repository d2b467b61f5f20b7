"""Which hyperparameters decide the result, by Optuna's evaluators."""

import json
import math
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances

from study.records.reading import StudyData
from study.records.trials import FINISHED, given

FANOVA, PED_ANOVA = "fANOVA", "PED-ANOVA"
"""Share of the variance over the whole space (Hutter et al., ICML 2014); what tells the best tenth of the trials from
the others (Watanabe et al., IJCAI 2023)."""

LEAST_TRIALS = 10
"""Finished trials below which importance says nothing."""


def importance(study: StudyData, method: str) -> dict[str, float]:
    """The share of each searched knob in the study's objective, largest first; the shares add up to 1.

    Knobs that some strategies or conditions do not have cannot be compared and are left out.

    Args:
        study: the study's tables.
        method: FANOVA or PED_ANOVA.

    Returns:
        Empty for fewer than `LEAST_TRIALS` finished trials, or if nothing that is searched varies.
    """
    goal, domains = study.objective.best, domains_of(study)
    rows = [
        row
        for row in study.trials.to_dict("records")
        if row["status"] == FINISHED and not row["diverged"] and math.isfinite(row[goal.column])
    ]
    rows = [row for row in rows if all(_lies_in(row[name], domain) for name, domain in domains.items())]
    shared = {name: domain for name, domain in domains.items() if all(given(row[name]) for row in rows)}
    shared = {name: domain for name, domain in shared.items() if len({row[name] for row in rows}) > 1}
    values = {row[goal.column] for row in rows}
    if len(rows) < LEAST_TRIALS or not shared or len(values) < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    finished = optuna.create_study(direction="maximize" if goal.sign > 0 else "minimize")
    finished.add_trials(
        optuna.trial.create_trial(
            params={name: row[name] for name, domain in shared.items()},
            distributions=shared,
            value=row[goal.column],
        )
        for row in rows
    )
    evaluator = FanovaImportanceEvaluator(seed=0) if method == FANOVA else PedAnovaImportanceEvaluator()
    shares = get_param_importances(finished, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def domains_of(study: StudyData) -> dict[str, BaseDistribution]:
    """The distributions of the knobs that the study searches."""
    stored = study.domains
    return {name: json_to_distribution(json.dumps(domain)) for name, domain in stored.items()}


def _lies_in(value: Any, domain: BaseDistribution) -> bool:
    """Whether a trial has no value of a knob, or one that is searched."""
    if not given(value):
        return True
    try:
        optuna.trial.create_trial(value=0.0, params={"knob": value}, distributions={"knob": domain})  # checks it
    except ValueError:
        return False
    return True
