"""The search: an Optuna study behind Ray Tune's Searcher, with constraints, told from the records."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, cast

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from search_spaces.space import Space
from study.records.constraints import Constraint, violations
from study.records.objectives import Objective
from study.records.rows import TrialRow
from study.records.trials import FAILED, PRUNED, RUNNING, Knob, TrialConfig
from study.search.database import ID, REPEATS, open_study
from study.search.samplers import SAMPLERS
from trainables.seeds import seed_for

_MOST_REPEATS = 20
"""Known configurations that the sampler may propose in a row. Then one is drawn from those that are left."""


@dataclass(frozen=True)
class Problem:
    """What is searched, and for what.

    Attributes:
        space: the configurations.
        objective: what makes one better than another.
        constraints: what a feasible trial meets.
        baseline: digest of the baseline reference.
        seed: of the trials and, with the number of trials known, of the search.
        sampler: a word of SAMPLERS.
    """

    space: Space
    objective: Objective
    constraints: Sequence[Constraint]
    baseline: str
    seed: int
    sampler: str = "tpe"


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


@dataclass(frozen=True)
class Start:
    """What a search knows when it begins, and what it suggests first.

    Attributes:
        rows: the study's trials; Optuna is told of those that have ended.
        earlier: trials of another study, told as if they were of this one.
        unfinished: trials to suggest first, in this order, with their checkpoints.
        first: knobs to suggest next.
    """

    rows: Sequence[TrialRow] = ()
    earlier: Sequence[TrialRow] = ()
    unfinished: Sequence[Unfinished] = ()
    first: Iterable[Mapping[str, Knob]] = ()


class Suggestions(Searcher):
    """What both kinds of search share: what Tune tells of ends and sessions is heard from the records alone."""

    closed = False

    def close(self) -> None:
        """Suggest nothing more."""
        self.closed = True

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `ended` is called once the trial's row has been written."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a study that continues builds a new search from its records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, like `save`."""


class StudySearch(Suggestions):
    """Searches a space for an objective under constraints.

    Optuna is told of a trial from its row of the trial table, after the row has been written. That holds when a trial
    ends, when a study continues and for the trials of an earlier study. A configuration that Optuna proposes again is
    not run again: Optuna is told what its row holds.

    Attributes:
        exhausted: every configuration of the space has been suggested.
    """

    def __init__(self, problem: Problem, start: Start | None = None, storage: str | None = None, name: str = "study"):
        """Start from what the records hold.

        Args:
            problem: what is searched, and for what.
            start: what is known already; by default nothing.
            storage, name: as `open_study` has them.

        Raises:
            StudyError: the database holds another study by this name, or cannot be opened.
        """
        super().__init__()
        start = start or Start()
        self._problem, self._space = problem, problem.space
        self._size = problem.space.size
        self.exhausted = False
        self._rows = {row.id: row for row in start.rows}
        self._tried = {_rounded(row.knobs) for row in start.rows}
        self._open: dict[str, Trial] = {}
        self._unfinished = {trial.id: trial for trial in start.unfinished}
        self._sampler = SAMPLERS[problem.sampler]
        self._study = open_study(storage, name, problem.objective, {*self._rows, *(row.id for row in start.earlier)})
        self._tell_past(start)
        for trial in start.unfinished:
            self._study.enqueue_trial(self._searched(trial.knobs), user_attrs={ID: trial.id})
        for knobs in start.first:
            if self._config({**self._space.fixed, **knobs}).signature not in self._rows:
                self._study.enqueue_trial(self._searched(knobs))

    def _tell_past(self, start: Start) -> None:
        """Tell Optuna of the trials that have ended, unless its database has them."""
        ended = [row for row in start.rows if row.status != RUNNING]
        trials = [trial for trial in self._study.get_trials(deepcopy=False) if trial.state.is_finished()]
        known = {(trial.user_attrs.get(ID), trial.state == TrialState.FAIL) for trial in trials}
        sampler = self._seeded(f"search/{len(ended)}")
        # Most samplers need not be asked for what is known already, which takes its time.
        self._study.sampler = sampler if self._sampler.must_be_asked else RandomSampler()
        for row in (*start.earlier, *ended):
            if (row.id, row.status == FAILED) not in known:
                self._study.enqueue_trial(self._searched(row.knobs), user_attrs={ID: row.id})
                self._tell(self._ask()[0], row)
        self._study.sampler = sampler

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config, as `TrialConfig.trial` gives it, or the end of the search."""
        if self.closed or self.exhausted:
            return Searcher.FINISHED
        for attempt in count():
            if len(self._tried) == self._size and not self._unfinished:
                break
            if attempt >= _MOST_REPEATS and not self._enqueue_untried(attempt):
                break
            if not self._sampler.must_be_asked:  # what it draws does not depend on where a session began
                self._study.sampler = self._seeded(f"search/{len(self._rows)}/{attempt}")
            trial, knobs = self._ask()
            config = self._config(knobs)
            name = config.signature
            unfinished = self._unfinished.pop(name, None)
            row = self._rows.setdefault(
                name, TrialRow(id=name, strategy=config.strategy, seed=config.seed, knobs=knobs)
            )
            if name in self._open or row.status != RUNNING:
                self._answer(trial, name)
                continue
            trial.set_user_attr(ID, name)
            self._open[name] = trial
            self._tried.add(_rounded(knobs))
            return config.trial(unfinished.checkpoint, unfinished.one_by_one) if unfinished else config.trial()
        self.exhausted = True
        return Searcher.FINISHED

    def ended(self, row: TrialRow) -> None:
        """Tell Optuna of a trial that this search has suggested, from its row."""
        self._rows[row.id] = row
        self._tell(self._open.pop(row.id), row)

    def _enqueue_untried(self, attempt: int) -> bool:
        """Let the next trial be drawn from the configurations that have not been tried; False if there are none."""
        seed = seed_for(self._problem.seed, f"untried/{len(self._rows)}/{attempt}") % 2**32
        configurations = self._space.configurations(seed)
        if configurations is None:  # without end, so that a draw is a new one, sooner or later
            knobs = choose(self._space, optuna.create_study(sampler=RandomSampler(seed=seed)).ask())
        else:
            untried = (knobs for knobs in configurations if _rounded(knobs) not in self._tried)
            knobs = next(untried, {})
        if knobs:
            self._study.enqueue_trial(self._searched(knobs))
        return bool(knobs)

    def _config(self, knobs: Mapping[str, Knob]) -> TrialConfig:
        return TrialConfig(self._space.strategy, knobs, self._problem.seed, self._problem.baseline)

    def _seeded(self, purpose: str) -> BaseSampler:
        return self._sampler.build(self._space, seed_for(self._problem.seed, purpose) % 2**32)

    def _answer(self, trial: Trial, name: str) -> None:
        """Tell Optuna of a repeated configuration what the first one gave; of one that is under way nothing yet."""
        trial.set_user_attr(REPEATS, name)
        if name in self._open:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._tell(trial, self._rows[name])

    def _ask(self) -> tuple[Trial, dict[str, Knob]]:
        """A new Optuna trial and its knobs, those that all trials share included."""
        trial = self._study.ask()
        if self._sampler.must_be_asked:
            _ = trial.relative_params  # Optuna sets a trial's generation once it is asked for these
        return trial, {**self._space.fixed, **choose(self._space, trial)}

    def _tell(self, trial: Trial, row: TrialRow) -> None:
        if row.status == FAILED:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        for name, violation in violations(self._problem.constraints, row.results, row.diverged).items():
            trial.set_constraint(name, violation)
        values = [_finite(goal.score(row.results)) * goal.sign for goal in self._problem.objective.goals]
        if row.status == PRUNED:
            if len(values) == 1:  # Optuna has no intermediate values for several goals
                trial.report(values[0], row.epochs_done)
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, values)

    def _searched(self, knobs: Mapping[str, Knob]) -> dict[str, Knob]:
        """The knobs that Optuna knows of."""
        return {name: knobs[name] for name in self._space.domains if name in knobs}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: no pruner of Optuna's looks at intermediate values."""


def choose(space: Space, trial: Trial) -> dict[str, Knob]:
    """Let an Optuna trial suggest a value for every knob that is searched, given those before it."""
    knobs: dict[str, Knob] = {}
    for name, domain in space.domains.items():
        if not space.active(name, {**space.fixed, **knobs}):
            continue
        if isinstance(domain, FloatDistribution):
            knobs[name] = trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)
        elif isinstance(domain, IntDistribution):
            knobs[name] = trial.suggest_int(name, domain.low, domain.high, step=domain.step, log=domain.log)
        elif isinstance(domain, CategoricalDistribution):
            knobs[name] = cast(Knob, trial.suggest_categorical(name, domain.choices))
    return knobs


def _rounded(knobs: Mapping[str, Knob]) -> frozenset[tuple[str, Knob]]:
    """A configuration as it is compared: samplers reach a value on a grid by different sums, 0.3 or 0.1 + 0.2."""
    return frozenset(
        (name, float(f"{value:.12g}") if isinstance(value, float) else value) for name, value in knobs.items()
    )


def _finite(score: float) -> float:
    """A score that Optuna takes: where it is undefined, the worst that a difference of Dice can be."""
    return score if math.isfinite(score) else -1.0
