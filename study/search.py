"""The search: Optuna's TPE through Ray Tune, with the retain floor as a real constraint."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from search_spaces.space import Space
from study.records import FAILED, Knob, Objective, TrialConfig
from trainables.seeds import seed_for

CONSTRAINT = "retain_floor"
"""Name of the constraint in Optuna: the floor minus the retention, feasible at zero or less."""

_MOST_REPEATS = 100


@dataclass(frozen=True)
class Unfinished:
    """A trial of an earlier session that has not ended, and the state file it can continue from."""

    id: str
    knobs: Mapping[str, Knob]
    checkpoint: Path | None


class StudySearch(OptunaSearch):
    """Searches a space for the best objective where retention stays above the floor.

    Ray's OptunaSearch knows no constraints, so they are set on the Optuna trial just before it is told. A
    resumed study builds a new search from its records: finished trials are told again, unfinished ones are
    suggested first, with their checkpoints. `exhausted` tells that a discrete space has nothing new left.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective,
        baseline: str,
        seed: int,
        retain_floor: float,
        ended: Sequence[Mapping[str, Any]] = (),
        unfinished: Sequence[Unfinished] = (),
    ):
        """Start from what the records hold.

        Args:
            space: what is searched.
            objective: what for.
            baseline: digest of the baseline reference.
            seed: of the trials and, with the number of trials known, of the search.
            retain_floor: least retention of a feasible trial.
            ended: rows of the trial table, finished and failed; told to Optuna as what they are.
            unfinished: to be suggested first, in this order.
        """
        sampler = TPESampler(seed=seed_for(seed, f"search/{len(ended)}") % 2**32)
        mode = "max" if objective.sign > 0 else "min"
        super().__init__(partial(choose, space), metric=objective.metric, mode=mode, sampler=sampler)
        self._chosen_from, self._objective = space, objective
        self._baseline, self._trial_seed, self._floor = baseline, seed, retain_floor
        self.exhausted = False
        self._seen: set[str] = set()
        self._checkpoints = {trial.id: trial.checkpoint for trial in unfinished}
        for row in ended:
            self._tell_again(row)
        for trial in unfinished:
            self._ot_study.enqueue_trial(self._searched(trial.knobs))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config; a discrete space that has nothing new left ends the search."""
        for _ in range(_MOST_REPEATS):
            knobs = {**self._chosen_from.fixed, **super().suggest(trial_id)}
            config = TrialConfig(self._chosen_from.strategy, knobs, self._trial_seed, self._baseline)
            if config.signature not in self._seen:
                self._seen.add(config.signature)
                return config.trial(self._checkpoints.get(config.signature))
            super().on_trial_complete(trial_id)
            self._completed_trials.discard(trial_id)
            del self._ot_trials[trial_id]
        self.exhausted = True
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: no pruner looks at intermediate values."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Set the constraint, then tell Optuna the gap; a trial that failed is told as failed."""
        if error or not result or trial_id in self._completed_trials:
            super().on_trial_complete(trial_id, None, error)
            return
        self._ot_trials[trial_id].set_constraint(CONSTRAINT, violation(result, self._floor))
        told = {self._objective.metric: told_value(result, self._objective)}
        super().on_trial_complete(trial_id, told)

    def _tell_again(self, row: Mapping[str, Any]) -> None:
        self._seen.add(row["id"])
        self._ot_study.enqueue_trial(self._searched(row))
        trial = self._ot_study.ask()
        choose(self._chosen_from, trial)
        if row["status"] == FAILED:
            self._ot_study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_constraint(CONSTRAINT, violation(row, self._floor))
        self._ot_study.tell(trial, told_value(row, self._objective))

    def _searched(self, knobs: Mapping[str, Any]) -> dict[str, Knob]:
        return {name: knobs[name] for name in self._chosen_from.domains if knobs.get(name) is not None}


def choose(space: Space, trial: Trial) -> dict[str, Knob]:
    """Let an Optuna trial suggest a value for every knob that is searched, given those before it."""
    chosen: dict[str, Knob] = {}
    for name, domain in space.domains.items():
        if not space.active(name, {**space.fixed, **chosen}):
            continue
        if isinstance(domain, FloatDistribution):
            chosen[name] = trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)
        elif isinstance(domain, IntDistribution):
            chosen[name] = trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
        elif isinstance(domain, CategoricalDistribution):
            chosen[name] = cast(Knob, trial.suggest_categorical(name, domain.choices))
    return chosen


def violation(result: Mapping[str, Any], floor: float) -> float:
    """How far a trial's retention lies below the floor (0 or less: feasible); a diverged trial retains nothing."""
    retention = result["retention"]
    return floor if result["diverged"] or math.isnan(retention) else floor - retention


def told_value(result: Mapping[str, Any], objective: Objective) -> float:
    """The objective's metric, or its worst possible value where it is undefined."""
    score = objective.score(result)
    return objective.sign * (-1.0 if math.isnan(score) else score)
