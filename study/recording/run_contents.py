"""What MLflow should have of a study, run by run, as its records say."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis import numbers
from study.recording.recorder import PARENT, Recorder
from study.records.trials import FAILED, FINISHED, PRUNED, RUNNING

RUN_NAME, DESCRIPTION = "mlflow.runName", "mlflow.note.content"
"""Tags that MLflow's pages show as a run's name and description (Markdown)."""

_STATUS = {FINISHED: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED"}
_OUTCOME = ("status", "diverged", "feasible", "on_front")
_TEXT = {"id", "node"}
_NO_PARAMS = {"id", "epochs_done", "seconds", "problem", *_OUTCOME}


@dataclass(frozen=True)
class RunContent:
    """What a run should have.

    Attributes:
        name: of the run, within its study.
        status: as MLflow calls it.
        params: name -> value; the first value stays.
        tags: name -> value; `mlflow.runName` is the run's title.
        values: single numbers, without a step; those that are not finite are left out.
        epochs: rows of metrics by ascending `epoch`, which is their step.
        files: a file and the folder of the run's artifacts that it belongs into, "" for the top one.
    """

    name: str
    status: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, Any]] = ()
    files: Sequence[tuple[Path, str]] = ()


class StudyRuns:
    """The runs of a study: the parent, its references and its trials."""

    def __init__(self, recorder: Recorder, params: Mapping[str, Any], tags: Mapping[str, str]):
        """Know a study.

        Args:
            recorder: has its records.
            params: of the parent run.
            tags: of the parent run.
        """
        self._recorder, self._params, self._tags = recorder, params, tags
        self._ended = False

    def changed(self) -> set[str]:
        """Names of the runs that may have changed since the last call; at the first one, of all."""
        return self._recorder.changes()

    def end(self) -> None:
        """The session is over: trials that are still running were interrupted; without a result the study failed."""
        self._ended = True
        self._recorder.changed(*(row["id"] for row in self._recorder.rows if row["status"] == RUNNING))

    def contents(self, reached: Mapping[str, int]) -> Iterator[RunContent]:
        """What some runs should have.

        Args:
            reached: name -> last epoch that MLflow has of the run, 0 without any; earlier ones may be left out.
        """
        if PARENT in reached:
            yield self._parent()
        runs = {name: epoch for name, epoch in reached.items() if name != PARENT}
        for name, epochs in zip(runs, self._recorder.epochs_after(runs), strict=True):
            yield self._run(name, [_metrics(row) for row in epochs])

    @property
    def _over(self) -> bool:
        return self._ended or self._recorder.outcome is not None

    def _run(self, name: str, epochs: Sequence[Mapping[str, Any]]) -> RunContent:
        row = self._recorder.row(name)
        values = _finite({f"evidence/{column}": row[column] for column in self._recorder.evidence_columns})
        if "strategy" not in row:
            params = {"reference": name, "digest": row["digest"]}
            return RunContent(name, "FINISHED", params, {"kind": "reference", "status": FINISHED}, values, epochs)
        status = _STATUS.get(row["status"]) or ("KILLED" if self._over else "RUNNING")
        hidden = {*_NO_PARAMS, *self._recorder.metrics, *self._recorder.evidence_columns}
        params = {key: value for key, value in row.items() if key not in hidden and value is not None}
        outcome = {key: row[key] for key in ("strategy", *_OUTCOME) if row[key] is not None}
        return RunContent(
            name, status, params, {"kind": "trial", RUN_NAME: self._title(row), **outcome}, values, epochs
        )

    def _parent(self) -> RunContent:
        """The parent run, which has the best trial's metrics and the study's files once the session has a result."""
        outcome, best = self._recorder.outcome, self._recorder.best
        tags = {**self._tags, **self._best_trial(best)}
        if outcome is None:
            return RunContent(PARENT, "FAILED" if self._over else "RUNNING", self._params, tags)
        status = "FINISHED" if outcome.complete else "KILLED"
        last = {name: best[name] for name in self._recorder.metrics} if best else {}
        epochs = [_metrics({"epoch": self._recorder.ended_trials, **last})] if last else []
        folder = self._recorder.folder
        files = [(file, file.parent.relative_to(folder).as_posix().strip(".")) for file in outcome.files]
        return RunContent(PARENT, status, self._params, tags, epochs=epochs, files=files)

    def _title(self, row: Mapping[str, Any]) -> str:
        """A trial's name in MLflow: its strategy and knobs."""
        knobs = [f"{name}={numbers.knob(row[name])}" for name in self._recorder.knobs if row[name] is not None]
        return " ".join([row["strategy"], *knobs])

    def _best_trial(self, best: Mapping[str, Any] | None) -> dict[str, str]:
        """The tags of the parent run that say which trial is best."""
        if best is None:
            return {DESCRIPTION: "No trial is feasible so far."}
        metrics = ("dice_gap", "retain_dice", "forget_dice", "heldout_dice", "retention")
        lines = [f"| {name.replace('_', ' ')} | {numbers.metric(best[name])} |" for name in metrics]
        text = f"Best feasible trial: **{self._title(best)}** (`{best['id']}`)\n\n| metric | |\n|---|---|\n"
        where = f"\n\nIts weights are in the study's folder under `front/{best['id']}/`."
        return {"best_trial": best["id"], DESCRIPTION: text + "\n".join(lines) + where}


def parent_tags(description: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a study's parent run.

    Args:
        description: its study.json.
    """
    return {
        "kind": "study",
        "space": description["space"],
        "cohort": description["cohort"]["digest"],
        "mlflow.source.git.commit": description["commit"],
        **{f"version.{name}": number for name, number in description["versions"].items()},
    }


def metric_name(column: str) -> str:
    """A column's name in MLflow, which groups its charts by what stands before the slash."""
    subset, _, metric = column.partition("_")
    if subset in ("retain", "forget", "heldout"):
        return f"{subset}/{metric}"
    if column.endswith("_gap"):
        return f"gap/{column.removesuffix('_gap')}"
    return f"training/{column}" if column in ("loss", "seconds") else column


def _metrics(row: Mapping[str, Any]) -> dict[str, Any]:
    return {metric_name(name): value for name, value in row.items() if name not in _TEXT and value is not None}


def _finite(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value) for key, value in row.items() if isinstance(value, int | float) and math.isfinite(value)
    }
