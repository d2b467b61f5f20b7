"""The runs of one study as MLflow has them; what they lack of their contents is sent."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the tracker looks what is there, then tries again
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException

from study.recording.recorder import PARENT
from study.recording.run_contents import RUN_NAME, RunContent

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
    params: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    files: set[tuple[Path, str]] = field(default_factory=set)


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
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{STUDY_TAG}` = '{study}'", page_token=token or None
            )
            self._known.update({run.data.tags[NAME_TAG]: _as_known(run) for run in page})
            token = page.token or None
            answered()
        if PARENT not in self._known:
            self._create(PARENT, study)

    def _make_experiment(self, name: str, location: str | None) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(self._client.create_experiment(name, location, tags=_KIND))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                experiment = self._client.get_experiment_by_name(name)  # another study was faster
        return str(experiment.experiment_id)

    def epoch(self, name: str) -> int:
        """The last epoch that MLflow has of a run; 0 if there is none, or no such run."""
        return int(self._known[name].metrics.get("epoch", 0)) if name in self._known else 0

    def send(self, run: RunContent) -> None:
        """Send what a run lacks; to send it twice does no harm.

        Raises:
            MlflowException, OSError: it may lack something still, and what it has is not known.
        """
        tags = {key: _shortened(_lower(value), _LONGEST.get(key, _LONGEST_TAG)) for key, value in run.tags.items()}
        known = self._known.get(run.name) or self._create(run.name, tags.get(RUN_NAME, run.name))
        tags = {key: value for key, value in tags.items() if known.tags.get(key) != value}
        params = {key: _shortened(str(value), _LONGEST_PARAM) for key, value in run.params.items()}
        params = {key: value for key, value in params.items() if key not in known.params}
        for metrics in _requests(_lacking(run, known)):
            if metrics or params or tags:
                self._client.log_batch(
                    known.id,
                    metrics,
                    [Param(key, value) for key, value in params.items()],
                    [RunTag(key, value) for key, value in tags.items()],
                )
            known.metrics |= {metric.key: metric.value for metric in metrics}
            known.params |= params.keys()
            known.tags |= tags
            params, tags = {}, {}
        if run.status != known.status:
            if run.status == "RUNNING":
                self._client.update_run(known.id, status="RUNNING")
            else:
                self._client.set_terminated(known.id, run.status)
            known.status = run.status
        for file, folder in run.files:
            if (file, folder) not in known.files:
                self._client.log_artifact(known.id, str(file), folder or None)
                known.files.add((file, folder))

    def _create(self, name: str, title: str) -> _Known:
        parent = {} if name == PARENT else {"mlflow.parentRunId": self._known[PARENT].id}
        tags = {STUDY_TAG: self._study, NAME_TAG: name, **parent}
        run = self._client.create_run(self._experiment, tags=tags, run_name=title)
        self._known[name] = _as_known(run)
        return self._known[name]


def _lacking(run: RunContent, known: _Known) -> list[list[Metric]]:
    """The metrics that MLflow lacks of a run: a group for each epoch, and one of single values."""
    now = int(time.time() * 1000)
    groups = [
        [Metric(key, float(value), now, int(row["epoch"])) for key, value in row.items() if _is_number(value)]
        for row in run.epochs
        if row["epoch"] > known.metrics.get("epoch", 0)
    ]
    return [
        *groups,
        [Metric(key, value, now, 0) for key, value in run.values.items() if known.metrics.get(key) != value],
    ]


def _requests(groups: Sequence[list[Metric]]) -> Iterator[list[Metric]]:
    """Groups of metrics, as many as a request takes; none is cut, since an epoch begun counts as sent."""
    metrics: list[Metric] = []
    for group in groups:
        if len(metrics) + len(group) > _MOST_METRICS:
            yield metrics
            metrics = []
        metrics += group
    yield metrics


def _as_known(run: Run) -> _Known:
    return _Known(run.info.run_id, run.info.status, set(run.data.params), dict(run.data.tags), dict(run.data.metrics))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _lower(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortened(text: str, longest: int) -> str:
    """A text that MLflow takes: one that is too long ends with an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
