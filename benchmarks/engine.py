"""What the engine itself costs a trial: trials of no work (replay.py) through search, Tune, records and MLflow.

`python benchmarks/engine.py [--trials 1000] [--sampler tpe] [--epochs 1] [--no-tracking]` prints seconds a trial in
tenths of the study, the share of the search and of the records in them, and the driver's memory.
"""

import argparse
import contextlib
import cProfile
import logging
import os
import pstats
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from replay import SPACE, Replay
from rich.console import Console

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import optuna
import ray
from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT
from safetensors.numpy import save_file

from search_spaces.space import Space, Suite
from study.cluster.nodes import Resources
from study.networks.session import Reference, Session
from study.planning.plan import Plan
from study.recording.mlflow_store import MlflowStore
from study.recording.recorder import Recorder
from study.recording.run_contents import StudyRuns
from study.recording.tracker import Tracker
from study.records.references import BASELINE
from study.records.settings import StudySettings
from study.records.study_record import CohortRecord, Recipes, Selection, SplitRecord, StudyRecord
from study.terminal.interrupts import Interrupts
from study.terminal.live import StudyView
from study.trials.engine import run_trials
from trainables.trainable import WEIGHTS_FILE


class ReplayTrial(tune.Trainable):
    """Reports a replayed trial's last epochs, as fast as it can."""

    def setup(self, config: dict[str, Any], epochs: int) -> None:
        self._replay, self._epochs = Replay(), epochs
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        knobs = new_config["knobs"]
        self._reports = self._replay.epochs({**knobs, "epochs": max(knobs["epochs"], self._epochs)})[-self._epochs :]
        self._number = 0
        return True

    def step(self) -> dict[str, Any]:
        report = self._reports[self._number]
        self._number += 1
        over = self._number == len(self._reports)
        return {
            **report,
            "epoch": self._number,
            "subjects": {},
            "finished": over,
            DONE: over,
            SHOULD_CHECKPOINT: over,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        save_file({}, Path(checkpoint_dir) / WEIGHTS_FILE)


class Stopwatch(StudyView):
    """Notes when trials end."""

    def __init__(self, console: Console):
        super().__init__(console)
        self.ends = [time.perf_counter()]

    def ended(self, trial: str, line: str, note: str) -> None:
        self.ends.append(time.perf_counter())


@contextlib.contextmanager
def study(
    space: Space | Suite, sampler: str, trials: int, tracking: bool = True
) -> Iterator[tuple[Plan, Recorder, Tracker | None]]:
    """A study without references in a temporary folder, with its records open and MLflow following them."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        settings = StudySettings(
            space="noisy_label", sampler=sampler, trials=trials, studies=Path(folder), name="benchmark"
        )
        plan = Plan(settings, space, None, None, None, ())  # type: ignore[arg-type]
        settings.folder.mkdir()
        record = StudyRecord(
            name=settings.name,
            space=settings.space,
            planned=trials,
            settings=settings,
            knobs=space.knobs,
            domains={},
            constraints=tuple(plan.constraints),
            suite=Recipes(),
            cohort=CohortRecord("replay", 0, (0, 0, 0), (0.0, 0.0, 0.0), ()),
            split=SplitRecord((), (), ()),
            selection=Selection((), (), (), (), ()),
            references={},
            published=None,
            versions={},
            commit="",
        )
        recorder = Recorder(settings.folder, record)
        store = partial(MlflowStore, f"sqlite:///{folder}/mlflow.db", settings.family, settings.name, None)
        yield plan, recorder, Tracker(store, StudyRuns(recorder, {}, {}), print) if tracking else None


def session_of(plan: Plan, concurrent: int, view: StudyView) -> Session:
    """A session with a baseline in name only."""
    return Session(plan, Resources(concurrent, 1, 0.0), view, {BASELINE: Reference("replay", 0, {}, {}, [], {})})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--concurrent", type=int, default=2)
    parser.add_argument("--no-tracking", action="store_true")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    opened = study(SPACE, given.sampler, given.trials, not given.no_tracking)
    with opened as (plan, recorder, tracker), Interrupts() as interrupts:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", num_cpus=given.concurrent)
        view = Stopwatch(Console(file=open(os.devnull, "w")))  # noqa: PTH123, SIM115
        trainable = tune.with_resources(tune.with_parameters(ReplayTrial, epochs=given.epochs), {"cpu": 1})
        profile = cProfile.Profile()
        if given.profile:
            profile.enable()
        run_trials(session_of(plan, given.concurrent, view), trainable, recorder, interrupts)
        profile.disable()
        waiting = len(tracker.lacking()) if tracker else 0
        began = time.perf_counter()
        if tracker:
            tracker.close()
        lag = time.perf_counter() - began
        began = time.perf_counter()
        recorder.close()
        merging = time.perf_counter() - began
    count = max(1, given.trials // 10)
    for first in range(0, given.trials, count):
        last = min(first + count, given.trials)
        each = 1000 * (view.ends[last] - view.ends[first]) / (last - first)
        print(f"trials {first + 1:6d} to {last:6d}: {each:7.1f} ms each")
    memory = psutil.Process().memory_info().rss / 2**20
    print(f"driver {memory:.0f} MiB; {waiting} runs waiting for MLflow at the end, {lag:.1f} s to write them")
    print(f"tables merged in {merging:.1f} s")
    if given.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
