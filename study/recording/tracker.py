"""MLflow, behind a bounded queue: a study never waits for its server, and never fails because of it."""

import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the tracker looks what is there, then tries again
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from rich.markup import escape

STUDY_TAG, NAME_TAG = "study", "name"
"""Tags that find a run again: the study, and within it the trial id, the reference or `study` for the parent."""

RUN_NAME, DESCRIPTION = "mlflow.runName", "mlflow.note.content"
"""Tags that MLflow's pages show as a run's name and description (Markdown)."""

PARENT = "study"
"""Name of a study's parent run; the runs of its trials and references are named by id."""

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Else MLflow's pages take an experiment for one of language models, and show no charts of its runs."""

_QUEUE_LENGTH = 10_000
_MOST_METRICS, _MOST_TOGETHER = 800, 500  # MLflow takes a thousand metrics, parameters and tags in a request
_GATHERING, _LONGEST_PAUSE, _PATIENCE = 0.5, 30.0, 10.0
"""Seconds: from a change to its request, between two attempts, and from the last success to giving up at the end."""


@dataclass
class _Change:
    """What a run should have; epochs and values with the time (ms) of their report. Sending it twice does no harm."""

    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)
    epochs: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    values: dict[str, tuple[int, float]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    status: str | None = None
    lacking: tuple[int, Callable[[], Sequence[Mapping[str, Any]]]] | None = None

    def add(self, later: "_Change") -> None:
        """Take over what came later."""
        self.params |= later.params
        self.tags |= later.tags
        self.epochs += later.epochs
        self.values |= later.values
        self.files += later.files
        self.status = later.status or self.status
        self.lacking = later.lacking or self.lacking


class Tracker:
    """One parent run per study and one child run per trial and reference, found again by their tags.

    Every call returns at once; one thread does the writing, in order, and tries again for as long as the study runs.
    What it could not write `problem` tells of: the records on disk are complete, and `Recorder.catch_up` sends
    what MLflow lacks.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        study: str,
        artifacts: Path | None,
        tell: Callable[[str], None],
    ):
        """Start the writer.

        Args:
            uri: MLflow tracking URI.
            experiment: name of the study's family.
            study: name of the study.
            artifacts: folder for the artifacts of a new experiment; None leaves it to the server.
            tell: hears when writing begins to fail, and when it works again, as rich has its markup.
        """
        self._lost: str | None = None
        self._failing: str | None = None
        self._behind: set[str] = set()  # runs that lack an epoch, and therefore get none of those after it
        self._tell = tell
        self._queue: queue.Queue[tuple[str, _Change] | None] = queue.Queue(_QUEUE_LENGTH)
        self._closing, self._last_success = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._work, args=(uri, experiment, study, artifacts), daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why MLflow lacks something; None if it does not."""
        return self._lost or self._failing

    def start(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, Any], status: str | None = "RUNNING"
    ) -> None:
        """Begin a run, or go on with the one that is there; without a status, leave that as it is."""
        self._put(name, _Change(params=dict(params), tags=dict(tags), status=status))

    def log(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the metrics of epochs (column `epoch` is the step); epochs logged before are left out."""
        now = int(time.time() * 1000)
        self._put(name, _Change(epochs=[(now, row) for row in rows]))

    def log_lacking(self, name: str, last: int, rows: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        """The same for a run whose newest epoch is known; the rows are only read if MLflow lacks some."""
        self._put(name, _Change(lacking=(last, rows)))

    def measure(self, name: str, values: Mapping[str, Any]) -> None:
        """Log single numbers of a run, without a step; what is no finite number is left out."""
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        now = int(time.time() * 1000)
        self._put(name, _Change(values={key: (now, value) for key, value in numbers.items() if math.isfinite(value)}))

    def tag(self, name: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a run."""
        self._put(name, _Change(tags=dict(tags)))

    def attach(self, name: str, file: Path) -> None:
        """Log a file as an artifact of a run."""
        self._put(name, _Change(files=[file]))

    def end(self, name: str, status: str) -> None:
        """End a run with MLflow's status: FINISHED, FAILED or KILLED."""
        self._put(name, _Change(status=status))

    def close(self) -> None:
        """Wait until everything queued is written, or writing has failed for a while."""
        self._closing.set()
        self._last_success = time.monotonic()
        while self._thread.is_alive():
            try:
                self._queue.put(None, timeout=0.1)
                break
            except queue.Full:
                if self._impatient:
                    break
        while self._thread.is_alive() and not self._impatient:
            self._thread.join(0.1)
        if self._thread.is_alive():
            self._lost = self._failing or f"no answer for {_PATIENCE:.0f} s"

    @property
    def _impatient(self) -> bool:
        return time.monotonic() - self._last_success > _PATIENCE

    def _put(self, name: str, change: _Change) -> None:
        try:
            self._queue.put_nowait((name, change))
        except queue.Full:
            self._lost = self._failing or f"no answer while {_QUEUE_LENGTH} changes were waiting"
            self._behind.add(name)

    def _work(self, uri: str, experiment: str, study: str, artifacts: Path | None) -> None:
        runs: _Runs | None = None
        over = False
        while not over:
            changes, over = self._waiting()
            for name, change in changes.items():
                pause = 0.5
                while not self._abandoned:
                    try:
                        runs = runs or _Runs(uri, experiment, study, artifacts)
                        if name in self._behind:
                            change.epochs.clear()
                        runs.send(name, change)
                        self._succeeded()
                        break
                    except Exception as error:
                        self._failed(error)
                        runs = None  # the answer may be what was lost: look what is there
                        if _hopeless(error):
                            self._lost = self._failing
                            self._behind.add(name)
                            break
                    self._closing.wait(pause)
                    pause = min(2 * pause, 1.0 if self._closing.is_set() else _LONGEST_PAUSE)
                    if self._closing.is_set():
                        time.sleep(pause)

    @property
    def _abandoned(self) -> bool:
        if self._closing.is_set() and self._impatient:
            self._lost = self._failing or f"no answer for {_PATIENCE:.0f} s"
            return True
        return False

    def _succeeded(self) -> None:
        self._last_success = time.monotonic()
        if self._failing is not None:
            self._failing = None
            self._tell("MLflow can be written again")

    def _waiting(self) -> tuple[dict[str, _Change], bool]:
        """What is in the queue, at least one change, merged by run; and whether it was the end of it."""
        changes: dict[str, _Change] = {}
        item = self._queue.get()
        self._closing.wait(_GATHERING)  # what a run gets at about the same time is one request
        for _ in range(_MOST_TOGETHER):
            if item is None:
                return changes, True
            name, change = item
            changes.setdefault(name, _Change()).add(change)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return changes, False
        if item is None:
            return changes, True
        changes.setdefault(item[0], _Change()).add(item[1])
        return changes, False

    def _failed(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        first, self._failing = self._failing is None, reason
        if first:
            then = "this is left out" if _hopeless(error) else "trying again"
            self._tell(escape(f"MLflow cannot be written, {then}: {reason}"))
        logging.getLogger(__name__).info("tracking failed", exc_info=True)


def _hopeless(error: Exception) -> bool:
    """Whether trying again cannot help: the server has understood and refused."""
    if isinstance(error, MlflowException):
        return 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in (408, 429)
    return isinstance(error, KeyError | FileNotFoundError)


@dataclass
class _Known:
    """What MLflow is known to have of a run."""

    id: str
    status: str
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        return int(self.metrics.get("epoch", 0))


class _Runs:
    """The runs of one study in MLflow, by name; only what they lack is sent."""

    def __init__(self, uri: str, experiment: str, study: str, artifacts: Path | None):
        self._client, self._study = MlflowClient(uri), study
        self._experiment = self._make_experiment(experiment, artifacts.as_uri() if artifacts else None)
        self._known: dict[str, _Known] = {}
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{STUDY_TAG}` = '{study}'", page_token=token or None
            )
            self._known.update({run.data.tags[NAME_TAG]: _as_known(run) for run in page})
            token = page.token or None

    def _make_experiment(self, name: str, location: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, location, tags=_KIND))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)  # another study was faster
        return str(found.experiment_id)

    def send(self, name: str, change: _Change) -> None:
        """Make a run be what a change says."""
        known = self._known.get(name) or self._create(name, change.tags.get(RUN_NAME, name))
        epochs = list(change.epochs)
        if change.lacking is not None and change.lacking[0] > known.epoch:
            now = int(time.time() * 1000)
            epochs = [(now, row) for row in change.lacking[1]()] + epochs
        lacking = {int(row["epoch"]): (when, row) for when, row in epochs if row["epoch"] > known.epoch}
        groups = [
            [Metric(key, float(value), when, epoch) for key, value in row.items() if isinstance(value, int | float)]
            for epoch, (when, row) in sorted(lacking.items())
        ]
        groups.append(
            [
                Metric(key, value, when, 0)
                for key, (when, value) in change.values.items()
                if known.metrics.get(key) != value
            ]
        )
        params = {key: str(value) for key, value in change.params.items() if key not in known.params}
        tags = {key: _text(value) for key, value in change.tags.items()}
        tags = {key: value for key, value in tags.items() if known.tags.get(key) != value}
        for some in _requests(groups):
            if some or params or tags:
                self._client.log_batch(
                    known.id,
                    some,
                    [Param(key, value) for key, value in params.items()],
                    [RunTag(key, value) for key, value in tags.items()],
                )
            known.metrics |= {metric.key: metric.value for metric in some}
            known.params |= params.keys()
            known.tags |= tags
            params, tags = {}, {}
        for file in change.files:
            self._client.log_artifact(known.id, str(file))
        if change.status and change.status != known.status:
            if change.status == "RUNNING":
                self._client.update_run(known.id, status="RUNNING")
            else:
                self._client.set_terminated(known.id, change.status)
            known.status = change.status

    def _create(self, name: str, title: str) -> _Known:
        parent = {} if name == PARENT else {"mlflow.parentRunId": self._known[PARENT].id}
        tags = {STUDY_TAG: self._study, NAME_TAG: name, **parent}
        run = self._client.create_run(self._experiment, tags=tags, run_name=self._study if name == PARENT else title)
        self._known[name] = _as_known(run)
        return self._known[name]


def _requests(groups: Sequence[list[Metric]]) -> Iterator[list[Metric]]:
    """Groups of metrics, as many as a request takes; none is cut, since an epoch begun counts as sent."""
    some: list[Metric] = []
    for group in groups:
        if len(some) + len(group) > _MOST_METRICS:
            yield some
            some = []
        some += group
    yield some


def _as_known(run: Run) -> _Known:
    return _Known(run.info.run_id, run.info.status, set(run.data.params), dict(run.data.tags), dict(run.data.metrics))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
