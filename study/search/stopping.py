"""Early stopping: successive halving on epochs, by a score that a collapsed network cannot win."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from study.records.constraints import Constraint, violations
from study.records.objectives import Objective

_SCORE, _EPOCH = "score", "epoch"
_STOPPED = 1 / 4
"""Share of the trials at a rung that is stopped there; benchmarks/README.md says what more costs."""


class _Named(NamedTuple):
    """A trial as ASHA knows it: by the study's id, which lasts over sessions, where Tune's does not."""

    trial_id: str


def penalised(
    report: Mapping[str, Any], objective: Objective, constraints: Sequence[Constraint], penalty: float = 1.0
) -> float:
    """The objective's score less what the constraints are missed by; NaN where the score is undefined.

    A network that has collapsed has a gap of 0 and keeps nothing of the retain floor: its score is -1. A network that
    forgets well but has not regained its retain Dice loses only what it still lacks.
    """
    missed = sum(max(0.0, violation) for violation in violations(constraints, report, report["diverged"]).values())
    return objective.score(report) - penalty * missed


class Halving(ASHAScheduler):
    """ASHA (Li et al. 2020, arXiv 1810.05934) on epochs, which goes on where earlier sessions stopped.

    The number of epochs is a knob, so trials have different lengths. A trial is compared with all others that reached
    the same epoch. That is fair because no recipe's schedule depends on its length.
    """

    def __init__(
        self,
        objective: Objective,
        constraints: Sequence[Constraint],
        epochs: int,
        grace: int,
        reports: Iterable[Mapping[str, Any]] = (),
    ):
        """Start from what the records hold.

        Args:
            objective, constraints: what is compared, and what is penalised.
            epochs, grace: those of the longest trial, and those that every trial has.
            reports: history rows of earlier sessions, with `id` and `diverged`, each trial's in order.
        """
        super().__init__(
            time_attr=_EPOCH,
            metric=_SCORE,
            mode="max",
            max_t=epochs,
            grace_period=min(grace, epochs),
            reduction_factor=1 / (1 - _STOPPED),
            stop_last_trials=False,
        )
        self._objective, self._constraints = objective, constraints
        self.stopped: set[str] = set()
        self._seconds: dict[str, dict[int, float]] = {}
        for report in reports:
            trial = _Named(report["id"])
            if trial.trial_id not in self._seconds:  # its first report
                super().on_trial_add(None, trial)
            super().on_trial_result(None, trial, self._scored(trial.trial_id, report))

    @property
    def metric(self) -> None:
        """Nothing that trials report: the score is made here."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """A trial begins, or continues."""
        super().on_trial_add(tune_controller, _Named(trial.config["id"]))

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether the trial goes on after an epoch."""
        name = _Named(trial.config["id"])
        decision: str = super().on_trial_result(tune_controller, name, self._scored(name.trial_id, result))
        if decision == TrialScheduler.STOP and not result["finished"]:
            self.stopped.add(name.trial_id)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial has ended; its last epoch is known already."""

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial has failed: what it reached stays in the comparison."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """A trial is gone."""

    def _scored(self, trial: str, result: Mapping[str, Any]) -> dict[str, Any]:
        spent = self._seconds.setdefault(trial, {})
        spent[result[_EPOCH]] = result["seconds"]
        score = penalised({**result, "seconds": sum(spent.values())}, self._objective, self._constraints)
        return {_EPOCH: result[_EPOCH], _SCORE: score}
