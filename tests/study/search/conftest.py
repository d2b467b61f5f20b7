"""A search, and trials of it that end as a test says."""

from collections.abc import Callable

import optuna
import pytest
from optuna.storages import InMemoryStorage

from study.records.constraints import parse
from study.records.metrics import METRICS
from study.records.objectives import OBJECTIVES
from study.records.rows import TrialRow
from study.records.trials import TrialConfig
from study.search.searcher import Problem, Start, StudySearch, Unfinished

BASELINE = "b" * 12
FLOOR = parse("retention>=0.9")


class Bench:
    """Searches of one Optuna storage, and what it holds."""

    def __init__(self) -> None:
        self.storage = InMemoryStorage()

    def search(
        self, space, objective="gap", constraints=(FLOOR,), seed=0, sampler="tpe", storage=None, name="study", **start
    ) -> StudySearch:
        problem = Problem(space, OBJECTIVES[objective], list(constraints), BASELINE, seed, sampler)
        return StudySearch(problem, Start(**start), storage or self.storage, name)

    def again(self, *arguments, **known) -> StudySearch:
        """A search of a new session, whose storage knows nothing."""
        self.storage = InMemoryStorage()
        return self.search(*arguments, **known)

    @property
    def study(self) -> optuna.Study:
        return optuna.load_study(study_name="study", storage=self.storage)

    @property
    def trials(self) -> list:
        return self.study.trials

    @property
    def states(self) -> list:
        return [trial.state.name for trial in self.trials]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def signature() -> Callable:
    """A trial's id from what it is made of."""

    def sign(space, knobs, seed=0):
        return TrialConfig(space.strategy, {**space.fixed, **knobs}, seed, BASELINE).signature

    return sign


@pytest.fixture
def row_of(signature) -> Callable:
    """A trial's row: every metric 0.95 but those given."""

    def row(space, knobs, status="finished", seed=0, **values):
        metrics = {**dict.fromkeys(METRICS, 0.95), "dice_gap": 0.5} | {
            name: value for name, value in values.items() if name in METRICS
        }
        rest = {"epochs_done": 3, "seconds": 1.0, "status": status}
        return TrialRow(
            id=signature(space, knobs, seed),
            strategy=space.strategy,
            seed=seed,
            knobs={**space.fixed, **knobs},
            metrics=metrics,
            **rest | {name: value for name, value in values.items() if name not in METRICS},
        )

    return row


@pytest.fixture
def unfinished(signature) -> Callable:
    def trial(space, knobs, checkpoint=None, seed=0):
        return Unfinished(signature(space, knobs, seed), knobs, checkpoint)

    return trial


@pytest.fixture
def run(row_of) -> Callable:
    """Lets a search suggest trials one after the other, each of which ends with the values that `told` gives."""

    def go(search, space, count, told=lambda knobs: {}, seed=0):
        rows = []
        for number in range(count):
            config = search.suggest(f"ray-{number}")
            if config == "FINISHED":
                break
            rows.append(row_of(space, config["knobs"], seed=seed, **told(config["knobs"])))
            assert rows[-1].id == config["id"]
            search.ended(rows[-1])
        return rows

    return go
