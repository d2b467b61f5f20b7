"""How far a study scales: trials of a fixed time that take no CPU, on simulated nodes; and where the driver ends it.

`python benchmarks/scaling.py` (21 minutes on 2 cores) prints the tables of README.md and writes scaling.svg beside
this file. On 1, 2, 4 and 8 nodes (ray.cluster_utils) four trials run at a time on each; then trials of no work run as
fast as the driver takes them, 10 to 1,000 at a time. A thousand processes fit on no small machine, so here up to 125
trials share a process, as threads. All else is the study's own: the driver has an actor handle, a placement group and
pending calls for each of them, a search, records and MLflow.
"""

import bisect
import contextlib
import itertools
import math
import os
import random
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import engine
import matplotlib.pyplot as plt
import numpy as np
import ray
from ray import cloudpickle, tune
from ray.air.execution.resources.placement_group import PlacementGroupAcquiredResources, PlacementGroupResourceManager
from ray.cluster_utils import Cluster
from ray.tune.result import SHOULD_CHECKPOINT
from replay import SPACE
from rich.console import Console

from search_spaces.narrowing import narrow
from search_spaces.space import Entry, Suite
from study.recording.tracker import Tracker
from study.terminal.interrupts import Interrupts
from study.terminal.live import StudyView
from study.trials.engine import run_trials

NODES, SLOTS = (1, 2, 4, 8), 4
"""Nodes of the first part, and trials at a time on each."""

SECONDS, EPOCHS, ROUNDS = 20.0, 10, 3
"""Of a trial in the first part, and trials in a slot, of which the first is not counted."""

THREADS = 125
"""Trials in a process of the second part."""

WINDOW = 12.0
"""Seconds in which the second part counts."""

CROWD, PAUSE = 1000, 60.0
"""So many trials at a time take so many seconds each, and are counted as long: more than the driver can do, but few
enough that all get a place."""

FULL = ("tpe", True)
RUNS = [
    *(
        (100, epochs, *stack)
        for stack in (("none", False), ("random", False), ("tpe", False), FULL)
        for epochs in (1, 10)
    ),
    *((concurrent, epochs, *FULL) for concurrent in (10, 300, CROWD) for epochs in (1, 10)),
]
"""Trials at a time, epochs, search and whether MLflow is written."""

CHECK, LENGTHS, MINUTES = (300, 10), (10, 50), (1, 3, 10, 30, 60)
"""Trials at a time and epochs to check the model at; epochs and minutes of a trial to use it for."""

GOAL = 0.95
"""Efficiency below which a cluster counts as too large."""

cloudpickle.register_pickle_by_value(engine)  # else every trial's process imports the study, and torch with it


class FixedTrial(engine.ReplayTrial):
    """A replayed trial whose epochs take a fixed time, and that saves its state after each, as real ones do.

    The first trial of a slot begins at any of its epochs, so that trials do not end together.
    """

    def setup(self, config: dict[str, Any], epochs: int, seconds: float) -> None:
        self._seconds, self._slot = seconds / epochs, uuid.uuid4().hex
        super().setup(config, epochs)
        self._number = random.randrange(epochs)

    def step(self) -> dict[str, Any]:
        time.sleep(self._seconds)
        return {**super().step(), SHOULD_CHECKPOINT: True, "slot": self._slot}


class Enough(BaseException):
    """The measurement is over; no `except Exception` stops it."""


class Slots(StudyView):
    """Notes when every slot reports and ends a trial; ends the study some seconds after all have reported."""

    def __init__(self, concurrent: int, window: float = math.inf, tracker: Tracker | None = None):
        super().__init__(Console(file=open(os.devnull, "w")))  # noqa: PTH123, SIM115
        self._concurrent, self._window, self._tracker = concurrent, window, tracker
        self.began, self.waiting = math.inf, 0
        self.reports: dict[str, list[float]] = defaultdict(list)
        self.ends: dict[str, list[float]] = defaultdict(list)
        self._slot: dict[str, str] = {}

    def running(self, trial: str, result: Mapping[str, Any], epochs: int) -> None:
        self._slot[trial] = result["slot"]
        self._noted(self.reports, trial)

    def ended(self, trial: str, line: str, note: str) -> None:
        self._noted(self.ends, trial)

    def _noted(self, kind: dict[str, list[float]], trial: str) -> None:
        now = time.perf_counter()
        kind[self._slot[trial]].append(now)
        if self.began == math.inf and len(self.reports) >= self._concurrent:
            self.began, self.waiting = now, waiting_for(self._tracker)
        if now > self.began + self._window:
            raise Enough

    def count(self, kind: dict[str, list[float]]) -> int:
        """How many there were in the window."""
        return sum(when > self.began for times in kind.values() for when in times)

    def interval(self) -> float:
        """Mean seconds from a slot's report to its next one in the window, if any slot has two."""
        kept = [np.diff([when for when in times if when > self.began]) for times in self.reports.values()]
        return float(np.concatenate(kept).mean()) if any(map(len, kept)) else math.nan


def waiting_for(tracker: Tracker | None) -> int:
    """Runs of which MLflow may lack something."""
    return len(tracker.lacking()) if tracker else 0


def on_nodes(nodes: int) -> np.ndarray:
    """Seconds from the end of a trial to the end of the next one in the same slot, for all slots of so many nodes."""
    concurrent, space = nodes * SLOTS, narrow(SPACE, [f"epochs={EPOCHS}"])
    trials = ROUNDS * concurrent
    view = Slots(concurrent)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=SLOTS, object_store_memory=2**27)
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        trainable = tune.with_parameters(FixedTrial, epochs=EPOCHS, seconds=SECONDS)
        trainable = tune.with_resources(trainable, {"cpu": 1})
        with engine.study(space, "tpe", trials) as (plan, recorder, tracker), Interrupts() as interrupts:
            run_trials(engine.session_of(plan, concurrent, view), trainable, recorder, interrupts)
            assert tracker is not None
            tracker.close()
            assert recorder.ended_trials == trials
    finally:
        ray.shutdown()
        cluster.shutdown()
    return np.concatenate([np.diff(ends) for ends in view.ends.values()])


class Process:
    """An actor with many trials, each call in a thread."""

    def __init__(self, trainable: type):
        self._trainable, self._trials = trainable, {}

    def call(self, seat: bytes, method: str, *arguments: Any, **named: Any) -> Any:
        if method == "__init__":
            self._trials[seat] = self._trainable(**named)
            return None
        return getattr(self._trials[seat], method)(*arguments, **named)


class Call(NamedTuple):
    """A method of a seat's trial."""

    process: Any
    seat: bytes
    method: str

    def remote(self, *arguments: Any, **named: Any) -> ray.ObjectRef:
        return self.process.call.remote(self.seat, self.method, *arguments, **named)


class Seat:
    """What Tune has in place of an actor's handle: a trial's place in a process."""

    def __init__(self, process: Any, **named: Any):
        self._process, self._actor_id = process, uuid.uuid4().bytes
        made = Call(process, self._actor_id, "__init__").remote(**named)
        self.__ray_ready__ = SimpleNamespace(remote=lambda: made)

    def __getattr__(self, method: str) -> Call:
        return Call(self._process, self._actor_id, method)


class Seats(PlacementGroupAcquiredResources):
    """A trial's placement group, as Tune acquires it; what starts there is a seat."""

    processes: ClassVar[Iterator[Any]]

    def _annotate_remote_entity(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(remote=lambda **named: Seat(next(self.processes), **named))


class Rate(NamedTuple):
    """What was done in some seconds, and a trial's seconds of all reports."""

    concurrent: int
    trials: int
    reports: int
    seconds: float
    interval: float


def rate(
    concurrent: int, epochs: int, search: str, tracking: bool, seconds: float = 0.0, window: float = WINDOW
) -> Rate:
    """Run trials of so many seconds and epochs, and count what the driver gets done once all slots have one.

    Args:
        concurrent: trials at a time.
        epochs: of each.
        search: a sampler, or `none`: recipes that are drawn beforehand, as a suite.
        tracking: whether MLflow is written; what it lacks at the end counts, with the time that it takes to write it.
        seconds: that a trial takes; by default as few as it can.
        window: seconds to count in.
    """
    local = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, resources={"slot": concurrent}, **local)
    trainable = tune.with_parameters(FixedTrial, epochs=epochs, seconds=seconds)
    trainable = tune.with_resources(trainable, {"slot": 1})
    process = ray.remote(Process).options(max_concurrency=THREADS, num_cpus=0)
    shared = ray.put(trainable)
    processes = [process.remote(shared) for _ in range(max(2, math.ceil(concurrent / THREADS)))]
    Seats.processes = itertools.cycle(processes)
    PlacementGroupResourceManager._resource_cls = Seats
    space = narrow(SPACE, [f"epochs={epochs}"]) if search != "none" else drawn(3000, epochs)
    sampler = search if search != "none" else "random"
    with engine.study(space, sampler, 100_000, tracking) as (plan, recorder, tracker), Interrupts() as interrupts:
        view = Slots(concurrent, window, tracker)
        with contextlib.suppress(Enough):
            run_trials(engine.session_of(plan, concurrent, view), trainable, recorder, interrupts)
        took, waiting = time.perf_counter() - view.began, waiting_for(tracker)
        PlacementGroupResourceManager._resource_cls = PlacementGroupAcquiredResources
        ray.shutdown()
        began = time.perf_counter()
        if tracker:
            tracker.close()
        behind = max(0, waiting - view.waiting) / max(1, waiting) * (time.perf_counter() - began)
    return Rate(concurrent, view.count(view.ends), view.count(view.reports), took + behind, view.interval())


def drawn(count: int, epochs: int) -> Suite:
    """Random recipes of SPACE."""
    draw = np.random.default_rng(0)
    ranges = {name: (domain.low, domain.high) for name, domain in SPACE.domains.items() if name != "epochs"}
    knobs = ({name: float(draw.uniform(*ends)) for name, ends in ranges.items()} for _ in range(count))
    return Suite(tuple(Entry("noisy_label", one) for one in knobs), (epochs,), 1)


class Driver(NamedTuple):
    """Seconds of the driver for a trial, for each of its reports, and for each event and trial running beside."""

    trial: float
    report: float
    beside: float

    @classmethod
    def fitted(cls, rates: Sequence[Rate]) -> "Driver":
        """Least squares of relative errors."""
        rows = np.array([(one.trials, one.reports, one.concurrent * (one.trials + 2 * one.reports)) for one in rates])
        found, *_ = np.linalg.lstsq(rows / [[one.seconds] for one in rates], np.ones(len(rates)), rcond=None)
        return cls(*map(float, found))

    def seconds(self, concurrent: float, epochs: int) -> float:
        """Of a trial: a report, a saved state and their epoch, and the change to the next trial."""
        return self.trial + epochs * self.report + concurrent * (1 + 2 * epochs) * self.beside

    def efficiency(self, concurrent: int, epochs: int, seconds: float) -> float:
        """Of so many trials at a time that take turns at the driver: mean value analysis of one queue."""
        events = 1 + 2 * epochs
        service, apart = self.seconds(concurrent, epochs) / events, seconds / events
        queue = 0.0
        for count in range(1, concurrent + 1):
            answer = service * (1 + queue)
            queue = count * answer / (apart + answer)
        return apart / (apart + answer)

    def largest(self, epochs: int, seconds: float) -> int:
        """Most trials at a time with the efficiency of the goal."""
        return bisect.bisect_left(
            range(1, 100_000), True, key=lambda count: self.efficiency(count, epochs, seconds) < GOAL
        )


def say(text: str) -> None:
    """Progress, beside the tables."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def scale() -> dict[int, float]:
    """Print the table of the first part; efficiency by nodes."""
    head("nodes", "trials at a time", "trials counted", "s a trial", "ms more than on one node", "efficiency")
    means: dict[int, float] = {}
    for nodes in NODES:
        say(f"{nodes} nodes, {ROUNDS} x {nodes * SLOTS} trials of {SECONDS:.0f} s")
        found = on_nodes(nodes)
        means[nodes], one = float(found.mean()), means.get(1, float(found.mean()))
        more = 1000 * (means[nodes] - one)
        row(nodes, nodes * SLOTS, len(found), f"{means[nodes]:.3f}", f"{more:.0f}", f"{one / means[nodes]:.3f}")
    return {nodes: means[1] / mean for nodes, mean in means.items()}


def limit() -> dict[int, list[int]]:
    """Print the tables of the second part; the most trials at a time by epochs, for MINUTES."""
    head("trials at a time", "epochs", "search", "MLflow", "trials a second", "reports a second", "ms a trial")
    whole = []
    for concurrent, epochs, search, tracking in RUNS:
        say(f"{concurrent} trials at a time of {epochs} epochs, search {search}{', MLflow' if tracking else ''}")
        pause = (PAUSE, PAUSE) if concurrent >= CROWD else ()
        found = rate(concurrent, epochs, search, tracking, *pause)
        whole += [found] if tracking else []
        trials, reports = found.trials / found.seconds, found.reports / found.seconds
        used = "yes" if tracking else "no"
        row(concurrent, epochs, search, used, f"{trials:.1f}", f"{reports:.0f}", f"{1000 * epochs / reports:.0f}")
    driver = Driver.fitted(whole)
    print(
        f"\nThe driver's time: {1000 * driver.trial:.1f} ms a trial, {1000 * driver.report:.1f} ms a report,"
        f" {1e6 * driver.beside:.1f} us an event for each trial beside."
    )
    concurrent, epochs = CHECK
    seconds = driver.seconds(concurrent, epochs) * concurrent
    while driver.efficiency(concurrent, epochs, seconds) < GOAL:
        seconds *= 1.02
    say(f"{concurrent} trials at a time of {seconds:.1f} s")
    checked = rate(concurrent, epochs, "tpe", True, seconds, 2 * seconds)
    print(
        f"{concurrent} trials at a time of {seconds:.1f} s and {epochs} epochs: efficiency {GOAL} by the model,"
        f" {seconds / epochs / checked.interval:.3f} measured.\n"
    )
    head("most trials at a time", *(f"{minutes:g} min" for minutes in MINUTES))
    largest = {epochs: [driver.largest(epochs, 60 * minutes) for minutes in MINUTES] for epochs in LENGTHS}
    for epochs, found in largest.items():
        row(f"{epochs} epochs", *found)
    return largest


def head(*names: str) -> None:
    """Begin a table."""
    print()
    row(*names)
    print("|" + "---|" * len(names))


def row(*cells: Any) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def draw(efficiency: Mapping[int, float], largest: Mapping[int, Sequence[int]]) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    left.plot(list(efficiency), list(efficiency.values()), "o-")
    left.axhline(GOAL, color="grey", linestyle=":")
    left.set(xlabel=f"nodes of {SLOTS} trials at a time", ylabel="efficiency", xticks=NODES, ylim=(0.9, 1.01))
    for epochs, most in largest.items():
        right.plot(MINUTES, most, "o-", label=f"{epochs} epochs")
    right.set(xlabel="minutes of a trial", ylabel=f"trials at a time, efficiency {GOAL}", xscale="log", yscale="log")
    right.legend()
    figure.savefig(Path(__file__).with_suffix(".svg"))


if __name__ == "__main__":
    draw(scale(), limit())
