"""MLflow, behind a bounded queue: a study never waits for its server, and never fails because of it."""

import logging
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

STUDY_TAG, NAME_TAG = "study", "name"
"""Tags that find a run again: the study, and within it the trial id, the reference or `study` for the parent."""

PARENT = "study"
"""Name of a study's parent run; the runs of its trials and references are named by id."""

_QUEUE_LENGTH = 10_000
_MOST_METRICS = 1000


class Tracker:
    """One parent run per study and one child run per trial and reference, found again by their tags.

    Every call returns at once; one thread does the writing, in order. After its first failure it drops what
    follows and `problem` says why: the records on disk are complete, and the next session logs what MLflow lacks.
    """

    def __init__(self, uri: str, experiment: str, study: str, artifacts: Path | None):
        """Start the writer.

        Args:
            uri: MLflow tracking URI.
            experiment: name of the study's family.
            study: name of the study.
            artifacts: folder for the artifacts of a new experiment; None leaves it to the server.
        """
        self.problem: str | None = None
        self._queue: queue.Queue[Callable[[_Runs], None] | None] = queue.Queue(_QUEUE_LENGTH)
        self._thread = threading.Thread(target=self._work, args=(uri, experiment, study, artifacts), daemon=True)
        self._thread.start()

    def start(self, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Begin a run, or go on with the one that is there."""
        self._put(lambda runs: runs.start(name, params, tags))

    def log(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the metrics of epochs (column `epoch` is the step); epochs logged before are left out."""
        self._put(lambda runs: runs.log(name, rows))

    def measure(self, name: str, values: Mapping[str, Any]) -> None:
        """Log single numbers of a run, without a step; what is no finite number is left out."""
        self._put(lambda runs: runs.measure(name, values))

    def tag(self, name: str, tags: Mapping[str, Any]) -> None:
        """Set tags of a run."""
        self._put(lambda runs: runs.tag(name, tags))

    def attach(self, name: str, file: Path) -> None:
        """Log a file as an artifact of a run."""
        self._put(lambda runs: runs.attach(name, file))

    def end(self, name: str, status: str) -> None:
        """End a run with MLflow's status: FINISHED, FAILED or KILLED."""
        self._put(lambda runs: runs.end(name, status))

    def _put(self, task: "Callable[[_Runs], None]") -> None:
        try:
            self._queue.put_nowait(task)
        except queue.Full:
            self.problem = self.problem or f"no answer while {_QUEUE_LENGTH} calls were waiting"

    def close(self) -> None:
        """Wait until everything queued is written."""
        self._queue.put(None)
        self._thread.join()

    def _work(self, uri: str, experiment: str, study: str, artifacts: Path | None) -> None:
        runs: _Runs | None = None
        while (task := self._queue.get()) is not None:
            if self.problem is None:
                try:
                    runs = runs or _Runs(uri, experiment, study, artifacts)
                    task(runs)
                except Exception as error:
                    self.problem = f"{type(error).__name__}: {error}".partition("\n")[0]
                    logging.getLogger(__name__).info("tracking stopped", exc_info=True)


class _Runs:
    """The runs of one study in MLflow, by name."""

    def __init__(self, uri: str, experiment: str, study: str, artifacts: Path | None):
        self._client = MlflowClient(uri)
        self._study = study
        found = self._client.get_experiment_by_name(experiment)
        location = artifacts.as_uri() if artifacts else None
        self._experiment = found.experiment_id if found else self._client.create_experiment(experiment, location)
        query = f"tags.`{STUDY_TAG}` = '{study}'"
        self._ids: dict[str, str] = {}
        self._logged: dict[str, int] = {}
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._experiment], query, page_token=token or None)
            self._ids.update({run.data.tags[NAME_TAG]: run.info.run_id for run in page})
            self._logged.update({run.data.tags[NAME_TAG]: int(run.data.metrics.get("epoch", 0)) for run in page})
            token = page.token or None

    def start(self, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        if name in self._ids:
            self._client.update_run(self._ids[name], status="RUNNING")
        else:
            parent = {} if name == PARENT else {"mlflow.parentRunId": self._ids[PARENT]}
            identity = {STUDY_TAG: self._study, NAME_TAG: name, **parent}
            run = self._client.create_run(
                self._experiment, tags=identity, run_name=self._study if name == PARENT else name
            )
            self._ids[name] = run.info.run_id
            self._client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in params.items()])
        self.tag(name, tags)

    def log(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        new = [row for row in rows if row["epoch"] > self._logged.get(name, 0)]
        now = int(time.time() * 1000)
        metrics = [
            Metric(key, float(value), now, int(row["epoch"]))
            for row in new
            for key, value in row.items()
            if isinstance(value, int | float) and value is not None
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._ids[name], metrics=metrics[start : start + _MOST_METRICS])
        self._logged[name] = max([self._logged.get(name, 0), *(int(row["epoch"]) for row in new)])

    def measure(self, name: str, values: Mapping[str, Any]) -> None:
        now = int(time.time() * 1000)
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        metrics = [Metric(key, value, now, 0) for key, value in numbers.items() if math.isfinite(value)]
        self._client.log_batch(self._ids[name], metrics=metrics)

    def tag(self, name: str, tags: Mapping[str, Any]) -> None:
        entries = [
            RunTag(key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in tags.items()
        ]
        self._client.log_batch(self._ids[name], tags=entries)

    def attach(self, name: str, file: Path) -> None:
        self._client.log_artifact(self._ids[name], str(file))

    def end(self, name: str, status: str) -> None:
        self._client.set_terminated(self._ids[name], status)
