"""The search: an Optuna study behind Ray Tune's Searcher, with constraints, told from the records."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from search_spaces.space import Space
from study.records.constraints import Constraint, violations
from study.records.failure import StudyError
from study.records.objectives import Objective
from study.records.trials import FAILED, PRUNED, RUNNING, Knob, TrialConfig
from study.search.samplers import SAMPLERS
from trainables.seeds import seed_for

_ID = "id"
"""User attribute of an Optuna trial: the id of the study's trial."""

_MOST_REPEATS = 100


class StorageError(StudyError):
    """An Optuna storage that cannot hold this study."""


@dataclass(frozen=True)
class Unfinished:
    """A trial of an earlier session that has not ended.

    Attributes:
        id: its own.
        knobs: of its configuration.
        checkpoint: URI of the state file that it can continue from.
        one_by_one: it ran out of memory and goes on one scan at a time.
    """

    id: str
    knobs: Mapping[str, Knob]
    checkpoint: str | None
    one_by_one: bool = False


class StudySearch(Searcher):
    """Searches a space for an objective under constraints.

    Optuna is told of a trial from its row of the trial table, after it has been written: the same way at the end of a
    trial, when a study continues and for the trials of an earlier study. A configuration that has been suggested
    before is answered from its row. `exhausted` tells that the space has nothing new left.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective,
        constraints: Sequence[Constraint],
        baseline: str,
        seed: int,
        sampler: str = "tpe",
        rows: Iterable[Mapping[str, Any]] = (),
        unfinished: Sequence[Unfinished] = (),
        first: Iterable[Mapping[str, Knob]] = (),
        earlier: Sequence[Mapping[str, Any]] = (),
        storage: str | None = None,
        name: str = "study",
    ):
        """Start from what the records hold.

        Args:
            space: what is searched.
            objective: what for.
            constraints: what a feasible trial meets.
            baseline: digest of the baseline reference.
            seed: of the trials and, with the number of trials known, of the search.
            sampler: a word of SAMPLERS.
            rows: of the trial table; those that have ended are told to Optuna as what they are.
            unfinished: to be suggested first, in this order, with their checkpoints.
            first: knobs to be suggested next.
            earlier: rows of another study, told as if they were of this one.
            storage: URL of the database that keeps the Optuna study; by default this process's memory.
            name: of the study in it.

        Raises:
            StorageError: the database holds another study by this name, or cannot be opened.
        """
        super().__init__()
        self._space, self._objective, self._constraints = space, objective, constraints
        self._baseline, self._trial_seed = baseline, seed
        self.exhausted, self._closed = False, False
        self._known = {row["id"]: row for row in rows}
        self._open: dict[str, Trial] = {}
        self._unfinished = {trial.id: trial for trial in unfinished}
        ended = [row for row in self._known.values() if row["status"] != RUNNING]
        self._sampler = SAMPLERS[sampler]
        self._counted = self._sampler.generations
        search = self._drawing(f"search/{len(ended)}")
        self._study = _open_study(storage, name, objective, {*self._known, *(row["id"] for row in earlier)})
        trials = self._study.get_trials(deepcopy=False)
        finished = [trial for trial in trials if trial.state.is_finished()]
        told = {(trial.user_attrs.get(_ID), trial.state == TrialState.FAIL) for trial in finished}
        for _ in [trial for trial in trials if trial.state == TrialState.WAITING]:  # an earlier session's queue
            self._study.tell(self._ask()[0], state=TrialState.FAIL)
        # Most samplers need not be asked about what is known already, which takes its time.
        self._study.sampler = search if self._counted else RandomSampler()
        for row in (*earlier, *ended):
            if (row["id"], row["status"] == FAILED) not in told:
                self._enqueue(row, row["id"])
                self._tell(self._ask()[0], row)
        self._study.sampler = search
        for trial in unfinished:
            self._enqueue(trial.knobs, trial.id)
        for knobs in first:
            if self._config({**space.fixed, **knobs}).signature not in self._known:
                self._study.enqueue_trial(self._searched(knobs))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config, as `TrialConfig.trial` gives it, or the end of the search."""
        if self._closed or self.exhausted:
            return Searcher.FINISHED
        size = self._space.size
        for attempt in range(_MOST_REPEATS):
            if size is not None and len(self._known) >= size and not self._unfinished:
                break
            if not self._counted:  # the draws of a trial do not depend on where a session began
                self._study.sampler = self._drawing(f"search/{len(self._known)}/{attempt}")
            trial, knobs = self._ask()
            knobs = {**self._space.fixed, **knobs}
            config = self._config(knobs)
            name = config.signature
            before = self._unfinished.pop(name, None)
            if name in self._open or (name in self._known and self._known[name]["status"] != RUNNING):
                self._answer(trial, name)
                continue
            trial.set_user_attr(_ID, name)
            self._open[name] = trial
            self._known.setdefault(name, {"status": RUNNING})
            return config.trial(before.checkpoint, before.one_by_one) if before else config.trial()
        self.exhausted = True
        return Searcher.FINISHED

    def close(self) -> None:
        """Suggest nothing more."""
        self._closed = True

    def ended(self, row: Mapping[str, Any]) -> None:
        """Tell Optuna of a trial that this search has suggested, from its row."""
        self._known[row["id"]] = row
        self._tell(self._open.pop(row["id"]), row)

    def _config(self, knobs: Mapping[str, Knob]) -> TrialConfig:
        return TrialConfig(self._space.strategy, knobs, self._trial_seed, self._baseline)

    def _drawing(self, purpose: str) -> BaseSampler:
        return self._sampler.build(self._space, seed_for(self._trial_seed, purpose) % 2**32)

    def _answer(self, trial: Trial, name: str) -> None:
        """A repeated configuration costs nothing: Optuna hears what the first one gave."""
        trial.set_user_attr("repeats", name)
        if name in self._open:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._tell(trial, self._known[name])

    def _ask(self) -> tuple[Trial, dict[str, Knob]]:
        trial = self._study.ask()
        if self._counted:
            _ = trial.relative_params  # Optuna sets a trial's generation once it is asked for these
        return trial, choose(self._space, trial)

    def _tell(self, trial: Trial, row: Mapping[str, Any]) -> None:
        if row["status"] == FAILED:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        for name, violation in violations(self._constraints, row).items():
            trial.set_constraint(name, violation)
        values = [_told(goal.score(row)) * goal.sign for goal in self._objective.goals]
        if row["status"] == PRUNED:
            if len(values) == 1:  # Optuna has no intermediate values for several goals
                trial.report(values[0], int(row["epochs_done"]))
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, values)

    def _enqueue(self, knobs: Mapping[str, Any], name: str) -> None:
        self._study.enqueue_trial(self._searched(knobs), user_attrs={_ID: name})

    def _searched(self, knobs: Mapping[str, Any]) -> dict[str, Knob]:
        return {name: knobs[name] for name in self._space.domains if knobs.get(name) is not None}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: no pruner of Optuna's looks at intermediate values."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `ended` is called once the trial's row has been written."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a study that continues builds a new search from its records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, like `save`."""


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


def _told(score: float) -> float:
    """A score that Optuna takes: where it is undefined, the worst that a difference of Dice can be."""
    return score if math.isfinite(score) else -1.0


def _open_study(storage: str | None, name: str, objective: Objective, known: Collection[str]) -> optuna.study.Study:
    """The Optuna study, new or as an earlier session left it; what that left running is told as failed."""
    sides = {1: StudyDirection.MAXIMIZE, -1: StudyDirection.MINIMIZE}
    directions = [sides[goal.sign] for goal in objective.goals]
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        trials = study.get_trials(deepcopy=False)
    except Exception as error:  # every database has errors of its own
        raise StorageError(f"--optuna-storage: {type(error).__name__}: {error}".partition("\n")[0]) from error
    if study.directions != directions:
        raise StorageError(f"--optuna-storage: its study {name!r} has another objective; choose another --name")
    strangers = [trial for trial in trials if trial.state.is_finished() and not _mine(trial, known)]
    if strangers:
        raise StorageError(
            f"--optuna-storage: its study {name!r} has {len(strangers)} trials that this study's records lack;"
            " choose another --name"
        )
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    return study


def _mine(trial: optuna.trial.FrozenTrial, known: Collection[str]) -> bool:
    attributes = trial.user_attrs
    return attributes.get(_ID, attributes.get("repeats")) in known or trial.state == TrialState.FAIL
