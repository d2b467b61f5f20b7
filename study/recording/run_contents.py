"""What MLflow should have of a study, run by run, as its records say."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from analysis import numbers
from analysis.statistics.repeats import varied
from study.recording.recorder import Recorder
from study.records.rows import NetworkRow, ReferenceRow, TrialRow
from study.records.study_record import StudyRecord
from study.records.trials import FAILED, FINISHED, PRUNED, RUNNING

PARENT = "study"
"""Name of a study's parent run; the runs of its trials and references are named by id."""

RUN_NAME, DESCRIPTION = "mlflow.runName", "mlflow.note.content"
"""Tags that MLflow's pages show as a run's name and description (Markdown)."""

_TAGS = ("strategy", "status", "diverged", "feasible", "on_front")
_STATUS = {FINISHED: "FINISHED", PRUNED: "KILLED", FAILED: "FAILED"}


class RunState(NamedTuple):
    """What a run's content follows from: its row, epochs in memory and repeats; the parent's from the picks."""

    status: str
    row: TrialRow | ReferenceRow | None
    reported: int = 0
    repeats: Sequence[NetworkRow] = ()
    picks: Mapping[str, TrialRow] = {}


@dataclass(frozen=True)
class RunContent:
    """What a run should have.

    Attributes:
        status: as MLflow calls it.
        params: name -> value; the first value stays.
        tags: name -> value; `mlflow.runName` is the run's title.
        values: single numbers, without a step.
        epochs: rows of metrics by ascending `epoch`, which is their step.
        files: a file and the folder of the run's artifacts that it belongs into, "" for the top one.
    """

    status: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    epochs: Sequence[Mapping[str, float]] = ()
    files: Sequence[tuple[Path, str]] = ()


class StudyRuns:
    """The runs of a study by name: the parent, with parameters and tags of its own, its references and its trials."""

    def __init__(self, recorder: Recorder, params: Mapping[str, Any], tags: Mapping[str, str]):
        self._recorder, self._params, self._tags = recorder, params, tags

    def states(self, over: bool) -> dict[str, RunState]:
        """All runs as they are now; whose state has not changed has no new content.

        Args:
            over: the session is; what still runs was interrupted, and without a result the study has failed.
        """
        recorder = self._recorder
        parent = {None: "FAILED" if over else "RUNNING", True: "FINISHED", False: "KILLED"}[recorder.complete]
        status = {**_STATUS, RUNNING: "KILLED" if over else "RUNNING"}
        return {
            PARENT: RunState(parent, None, picks=recorder.picks),
            **{row.id: RunState("FINISHED", row) for row in recorder.references},
            **{
                row.id: RunState(status[row.status], row, recorder.reported(row.id), recorder.repeats_of(row.id))
                for row in recorder.rows
            },
        }

    def contents(
        self, states: Mapping[str, RunState], reached: Callable[[str], int]
    ) -> Iterator[tuple[str, RunContent]]:
        """What some runs should have.

        Args:
            states: of these runs.
            reached: run -> last epoch that MLflow has of it, 0 without any; those up to it are left out.
        """
        behind = {name: reached(name) for name, state in states.items() if name != PARENT}
        behind = {name: epoch for name, epoch in behind.items() if not _has_ended(states[name], epoch)}
        epochs = self._recorder.epochs(behind)
        for name, (status, row, _, repeats, picks) in states.items():
            if row is None:
                yield name, self._parent(status, picks)
            else:
                yield name, self._run(status, row, repeats, [_metrics(epoch) for epoch in epochs.get(name, ())])

    def _run(
        self,
        status: str,
        row: TrialRow | ReferenceRow,
        repeats: Sequence[NetworkRow],
        epochs: Sequence[Mapping[str, Any]],
    ) -> RunContent:
        values = _finite({f"evidence/{column}": value for column, value in row.evidence.items()})
        for column, found in varied(repeats).items():
            values |= _finite({f"repeats/{column}_mean": found.mean, f"repeats/{column}_sd": found.sd})
        said = {f"evidence.{name}": row.evidence[name] for name in ("verdict", "reasons") if name in row.evidence}
        if isinstance(row, ReferenceRow):
            names = {"reference": row.id, "digest": row.digest}
            return RunContent(status, names, {"kind": "reference", "status": FINISHED, **said}, values, epochs)
        params = {"strategy": row.strategy, "seed": row.seed, **row.knobs}
        tags = {name: value for name in _TAGS if (value := getattr(row, name)) is not None}
        return RunContent(status, params, {"kind": "trial", RUN_NAME: _title(row), **tags, **said}, values, epochs)

    def _parent(self, status: str, picks: Mapping[str, TrialRow]) -> RunContent:
        """The parent run, which has the best trial's metrics and the study's files once the session has a result."""
        folder, best, epochs = self._recorder.folder, picks.get("best"), []
        if best and self._recorder.complete is not None:
            epochs = [_metrics({"epoch": self._recorder.ended_trials, **best.metrics})]
        files = [(file, file.parent.relative_to(folder).as_posix().strip(".")) for file in self._recorder.files]
        return RunContent(status, self._params, {**self._tags, **_picked(picks)}, {}, epochs, files)


def parent_tags(record: StudyRecord) -> dict[str, str]:
    """The tags of a study's parent run."""
    return {
        "kind": "study",
        "space": record.space,
        "cohort": record.cohort.digest,
        "mlflow.source.git.commit": record.commit,
        **{f"version.{name}": number for name, number in record.versions.items()},
    }


def _title(row: TrialRow) -> str:
    """A trial's name in MLflow: its strategy and knobs."""
    return " ".join([row.strategy, *(f"{name}={numbers.knob(value)}" for name, value in row.knobs.items())])


def _picked(picks: Mapping[str, TrialRow]) -> dict[str, str]:
    """The tags of the parent run that say which trials are its picks, and what the evidence says of them."""
    if not picks:
        return {DESCRIPTION: "No trial is feasible so far."}
    metrics = ("dice_gap", "retain_dice", "forget_dice", "heldout_dice", "retention")
    texts, tags = [], {f"{name}_trial": row.id for name, row in picks.items()}
    for name, row in picks.items():
        lines = [f"| {column.replace('_', ' ')} | {numbers.metric(row.metric(column))} |" for column in metrics]
        verdict, reasons = (row.evidence.get(column) for column in ("verdict", "reasons"))
        texts.append(
            f"{name.capitalize()} feasible trial: **{_title(row)}** (`{row.id}`)\n\n| metric | |\n|---|---|\n"
            + "\n".join(lines)
            + (f"\n\nEvidence: **{verdict}**: {reasons}" if verdict else "")
            + f"\n\nIts weights are in the study's folder under `front/{row.id}/`."
        )
    return {**tags, DESCRIPTION: "\n\n".join(texts)}


def metric_name(column: str) -> str:
    """A column's name in MLflow, which groups its charts by what stands before the slash."""
    subset, _, metric = column.partition("_")
    if subset in ("retain", "forget", "heldout"):
        return f"{subset}/{metric}"
    if column.endswith("_gap"):
        return f"gap/{column.removesuffix('_gap')}"
    return f"training/{column}" if column in ("loss", "seconds") else column


def _has_ended(state: RunState, epoch: int) -> bool:
    """Whether a trial has no epoch after this one, as its row says."""
    row = state.row
    return isinstance(row, TrialRow) and row.status != RUNNING and epoch >= row.epochs_done


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    return {metric_name(name): value for name, value in row.items() if isinstance(value, int | float)}


def _finite(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value) for key, value in row.items() if isinstance(value, int | float) and math.isfinite(value)
    }
