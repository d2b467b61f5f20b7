"""MLflow, behind a bounded queue: a study never waits for its server, and never fails because of it."""

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

STUDY_TAG, RUN_TAG = "study", "lethe.run"
"""Tags that find a run again: the study's name, and the trial id or reference name within it."""

_QUEUE_LENGTH = 10_000
_PARENT = "study"


class Tracker:
    """One parent run per study and one child run per trial and reference, found again by their tags.

    Every call returns at once; a single thread does the writing, in order. After the first failure the thread
    drops what follows and `problem` says why: the records on disk are complete, and the next session logs the
    runs that MLflow lacks.
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
        self._client: MlflowClient
        self._runs: dict[str, str] = {}
        self._logged: dict[str, int] = {}
        self._study = study
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(_QUEUE_LENGTH)
        self._put(lambda: self._open(uri, experiment, artifacts))
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def start(self, name: str, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Begin the child run of a trial or reference, or go on with the one that is there."""
        self._put(lambda: self._start(name, params, tags))

    def log(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Log the metrics of epochs (column `epoch` is the step); epochs logged before are left out."""
        self._put(lambda: self._log(name, rows))

    def finish(self, name: str, status: str, tags: Mapping[str, Any]) -> None:
        """End a child run with MLflow's status (FINISHED, FAILED, KILLED) and its tags."""
        self._put(lambda: self._finish(name, status, tags))

    def tag(self, name: str, tags: Mapping[str, Any]) -> None:
        """Change the tags of a child run."""
        self._put(lambda: self._client.log_batch(self._runs[name], tags=_tags(tags)))

    def study(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Describe the parent run."""
        self._put(lambda: self._start(_PARENT, params, tags))

    def study_result(self, status: str, metrics: Mapping[str, float], files: list[Path]) -> None:
        """End the parent run for now, with the best trial's metrics and the study's files as artifacts."""

        def write() -> None:
            run = self._runs[_PARENT]
            self._client.log_batch(run, metrics=[Metric(key, value, _now(), 0) for key, value in metrics.items()])
            for file in files:
                self._client.log_artifact(run, str(file))
            self._client.set_terminated(run, status)

        self._put(write)

    def close(self) -> None:
        """Wait until everything queued is written."""
        self._put(None)
        self._thread.join()

    def _put(self, task: Callable[[], None] | None) -> None:
        self._queue.put(task)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            if self.problem is None:
                try:
                    task()
                except Exception as error:
                    self.problem = f"{type(error).__name__}: {error}".partition("\n")[0]
                    logging.getLogger(__name__).info("tracking stopped", exc_info=True)
