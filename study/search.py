"""The search: Optuna's TPE through Ray Tune, with the retain floor as a real constraint."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.samplers import TPESampler
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from search_spaces.space import Space
from study.records import FAILED, Knob, TrialConfig
from trainables.seeds import seed_for

CONSTRAINT = "retain_floor"
"""Name of the constraint in Optuna: the floor minus the retention, feasible at zero or less."""

_MOST_REPEATS = 100


@dataclass(frozen=True)
class Unfinished:
    """A trial of an earlier session that has not ended, and the state file it can continue from."""

    knobs: Mapping[str, Knob]
    checkpoint: Path | None


class StudySearch(OptunaSearch):
    """Maximises `dice_gap` where retention stays above the floor.

    Ray's OptunaSearch knows no constraints, so they are set on the Optuna trial just before it is told. A
    resumed study builds a new search from its records: finished trials are told again, unfinished ones are
    suggested first, with their checkpoints. `exhausted` tells that a discrete space has nothing new left.
    """

    def __init__(
        self,
        space: Space,
        baseline: str,
        seed: int,
        retain_floor: float,
        ended: Sequence[Mapping[str, Any]] = (),
        unfinished: Sequence[Unfinished] = (),
    ):
        """Start from what the records hold.

        Args:
            space: what is searched.
            baseline: digest of the baseline reference.
            seed: of the trials and, with the number of trials known, of the search.
            retain_floor: least retention of a feasible trial.
            ended: rows of the trial table, finished and failed; told to Optuna as what they are.
            unfinished: to be suggested first, in this order.
        """
        sampler = TPESampler(seed=seed_for(seed, f"search/{len(ended)}") % 2**32)
        super().__init__(dict(space.domains), metric="dice_gap", mode="max", sampler=sampler)
        self._strategy, self._knobs = space.strategy, tuple(space.domains)
        self._baseline, self._trial_seed, self._floor = baseline, seed, retain_floor
        self.exhausted = False
        self._seen: set[str] = set()
        self._checkpoints: dict[str, str | None] = {}
        for row in ended:
            self._tell_again(row)
        for trial in unfinished:
            self._ot_study.enqueue_trial(dict(trial.knobs))
            signature = self.config_of(trial.knobs).signature
            self._checkpoints[signature] = str(trial.checkpoint) if trial.checkpoint else None

    def config_of(self, knobs: Mapping[str, Knob]) -> TrialConfig:
        """The configuration of the trial with these knobs."""
        ordered = {name: knobs[name] for name in self._knobs}
        return TrialConfig(self._strategy, ordered, self._trial_seed, self._baseline)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config; a discrete space that has nothing new left ends the search."""
        for _ in range(_MOST_REPEATS):
            config = self.config_of(super().suggest(trial_id))
            if config.signature not in self._seen:
                self._seen.add(config.signature)
                return {
                    "id": config.signature,
                    "strategy": config.strategy,
                    "knobs": dict(config.knobs),
                    "seed": config.seed,
                    "checkpoint": self._checkpoints.get(config.signature),
                }
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
        super().on_trial_complete(trial_id, {"dice_gap": told_gap(result)})

    def _tell_again(self, row: Mapping[str, Any]) -> None:
        knobs = {name: row[name] for name in self._knobs}
        self._seen.add(self.config_of(knobs).signature)
        self._ot_study.enqueue_trial(knobs)
        trial = self._ot_study.ask(fixed_distributions=self._space)
        if row["status"] == FAILED:
            self._ot_study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_constraint(CONSTRAINT, violation(row, self._floor))
        self._ot_study.tell(trial, told_gap(row))


def violation(result: Mapping[str, Any], floor: float) -> float:
    """How far a trial's retention lies below the floor (0 or less: feasible); a diverged trial retains nothing."""
    retention = result["retention"]
    return floor if result["diverged"] or math.isnan(retention) else floor - retention


def told_gap(result: Mapping[str, Any]) -> float:
    """The Dice gap, or its least possible value where it is undefined."""
    return -1.0 if math.isnan(result["dice_gap"]) else result["dice_gap"]
