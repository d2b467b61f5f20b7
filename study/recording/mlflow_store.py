"""The runs of one study as MLflow has them; what they lack of their contents is sent."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the tracker looks what is there, then tries again
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from study.recording.run_contents import PARENT, RUN_NAME, RunContent

STUDY_TAG, NAME_TAG = "study", "name"
"""Tags that find a run again: the study, and within it the trial id, the reference or `study` for the parent."""

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Else MLflow's pages take an experiment for one of language models, and show no charts of its runs."""

_MOST_METRICS = 800  # MLflow takes a thousand metrics, parameters and tags in a request

_LONGEST_PARAM, _LONGEST_TAG = 6000, 8000
_LONGEST = {RUN_NAME: 250}
"""Characters that MLflow takes of a parameter, of a tag, and of those tags that take less."""


@dataclass
class _Known:
    """What MLflow is known to have of a run."""

    id: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]


class MlflowStore:
    """The runs of one study in MLflow, by name: one parent, found again by its tags, and its children."""

    def __init__(self, uri: str, experiment: str, study: str, artifacts: Path | None, answered: Callable[[], None]):
        """Look at what is there; the experiment is made if it is not.

        Args:
            uri: MLflow tracking URI.
            experiment: name of the study's family.
            study: name of the study.
            artifacts: folder for the artifacts of a new experiment; None leaves it to the server.
            answered: is called at every answer.
        """
        self._client, self._study = MlflowClient(uri), study
        self._experiment = self._make_experiment(experiment, artifacts.as_uri() if artifacts else None)
        self._known: dict[str, _Known] = {}
        mine, token = f"tags.`{STUDY_TAG}` = '{study}'", None
        while token != "":
            page = self._client.search_runs([self._experiment], mine, page_token=token)
            self._known |= {run.data.tags[NAME_TAG]: _as_known(run) for run in page}
            token = page.token or ""
            answered()
        if PARENT not in self._known:
            self._create(PARENT, study)

    def _make_experiment(self, name: str, location: str | None) -> str:
        if self._client.get_experiment_by_name(name) is None:
            try:
                return str(self._client.create_experiment(name, location, tags=_KIND))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another study was faster
                    raise
        return str(self._client.get_experiment_by_name(name).experiment_id)

    def epoch(self, name: str) -> int:
        """The last epoch that MLflow has of a run; 0 if there is none, or no such run."""
        return int(self._known[name].metrics.get("epoch", 0)) if name in self._known else 0

    def send(self, name: str, run: RunContent) -> bool:
        """Send what a run lacks, its files always; to send it twice does no harm.

        Returns:
            Whether there was anything.

        Raises:
            MlflowException, OSError: it may lack something still, and what it has is not known.
        """
        tags = {key: _shortened(_lower(value), _LONGEST.get(key, _LONGEST_TAG)) for key, value in run.tags.items()}
        known = self._known.get(name) or self._create(name, tags.get(RUN_NAME, name))
        tags = {key: value for key, value in tags.items() if known.tags.get(key) != value}
        params = {key: _shortened(str(value), _LONGEST_PARAM) for key, value in run.params.items()}
        params = {key: value for key, value in params.items() if key not in known.params}
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, 0) for key, value in run.values.items() if known.metrics.get(key) != value]
        epochs = [row for row in run.epochs if row["epoch"] > self.epoch(name)][::-1]
        lacking = bool(metrics or params or tags or epochs or run.files or run.status != known.status)
        while metrics or params or tags or epochs:
            while epochs and (not metrics or len(metrics) + len(epochs[-1]) <= _MOST_METRICS):
                row = epochs.pop()  # whole: one that MLflow has begun counts as sent
                metrics += [Metric(key, float(value), now, int(row["epoch"])) for key, value in row.items()]
            params_and_tags = [Param(*item) for item in params.items()], [RunTag(*item) for item in tags.items()]
            self._client.log_batch(known.id, metrics, *params_and_tags)
            known.metrics |= {metric.key: metric.value for metric in metrics}
            known.params |= params
            known.tags |= tags
            metrics, params, tags = [], {}, {}
        if run.status != known.status:
            update = self._client.update_run if run.status == "RUNNING" else self._client.set_terminated
            update(known.id, run.status)
            known.status = run.status
        for file, folder in run.files:
            self._client.log_artifact(known.id, str(file), folder or None)
        return lacking

    def _create(self, name: str, title: str) -> _Known:
        parent = {} if name == PARENT else {"mlflow.parentRunId": self._known[PARENT].id}
        tags = {STUDY_TAG: self._study, NAME_TAG: name, **parent}
        run = self._client.create_run(self._experiment, tags=tags, run_name=title)
        self._known[name] = _as_known(run)
        return self._known[name]


def _as_known(run: Run) -> _Known:
    return _Known(
        run.info.run_id, run.info.status, dict(run.data.params), dict(run.data.tags), dict(run.data.metrics)
    )


def _lower(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(text: str, longest: int) -> str:
    """A text that MLflow takes: one that is too long ends with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
