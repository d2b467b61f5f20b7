"""What a study writes down: tables on disk first, then MLflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.front import mark
from study.records import (
    EVIDENCE,
    FAILED,
    FINISHED,
    METRICS,
    RUNNING,
    SUBJECT_METRICS,
    Objective,
    history_table,
    references_table,
    subjects_table,
    trials_table,
)
from study.references import Reference
from study.tracking import PARENT, Tracker

_MARKS = ("feasible", "on_front")
_MLFLOW_STATUS = {FINISHED: "FINISHED", FAILED: "FAILED", RUNNING: "KILLED"}


class Recorder:
    """Keeps the study's tables and MLflow up to date; knows which trials are on the front."""

    def __init__(
        self,
        folder: Path,
        knobs: Mapping[str, type],
        objective: Objective,
        retain_floor: float,
        subjects: Mapping[str, Sequence[str]],
        tracker: Tracker,
        horizons: Sequence[int] = (),
    ):
        """Open the tables of a study's folder.

        Args:
            folder: of the study.
            knobs: those of any trial and the Python type of their values.
            objective: decides the front.
            retain_floor: least retention of a feasible trial.
            subjects: set -> pseudonyms of its subjects, in the order of the reported values.
            tracker: takes everything to MLflow.
            horizons: epochs after which single subjects are recorded, beside the last one.
        """
        self._trials, self._history = trials_table(folder, knobs), history_table(folder)
        self._subjects, self._references = subjects_table(folder), references_table(folder)
        self._knobs, self._objective, self._floor = tuple(knobs), objective, retain_floor
        self._sets, self._tracker, self._horizons = subjects, tracker, horizons
        self._latest: dict[str, Mapping[str, Any]] = {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trial table."""
        return self._trials.rows

    @property
    def references(self) -> list[dict[str, Any]]:
        """The table of references."""
        return self._references.rows

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The history table."""
        return self._history.rows

    def catch_up(self) -> None:
        """Log to MLflow what earlier sessions recorded but could not log."""
        for row in self.rows:
            self._start_run(row)
            self._tracker.log(row["id"], [_numbers(epoch) for epoch in self.epochs if epoch["id"] == row["id"]])
            self._end_run(row)
        for row in (*self.rows, *self.references):
            if row["evidence"]:
                self._tracker.measure(row["id"], {column: row[column] for column in EVIDENCE})

    def reference(self, name: str, reference: Reference) -> None:
        """Record a reference and its single subjects, and log its history."""
        empty = dict.fromkeys(EVIDENCE)
        known = next((row for row in self._references.rows if row["id"] == name), empty)
        row = {**known, "id": name, "digest": reference.digest, "seed": reference.seed, **reference.metrics}
        self._references.upsert([row])
        self._record_subjects(name, int(reference.history[-1]["epoch"]), reference.subjects)
        self._tracker.start(name, {"reference": name, "digest": reference.digest}, {"status": FINISHED})
        self._tracker.log(name, reference.history)
        self._tracker.end(name, "FINISHED")

    def evidence(self, name: str) -> str | None:
        """The settings under which a trial's or reference's evidence was gathered; None without any."""
        rows = [row for row in (*self.rows, *self._references.rows) if row["id"] == name]
        return rows[0].get("evidence") if rows else None

    def gathered(self, name: str, found: Mapping[str, Any]) -> None:
        """Record and log the evidence on a trial or a reference."""
        for table in (self._trials, self._references):
            table.upsert([{**row, **dict.fromkeys(EVIDENCE), **found} for row in table.rows if row["id"] == name])
        self._tracker.measure(name, found)

    def started(self, config: Mapping[str, Any]) -> None:
        """A trial begins, or continues.

        Args:
            config: `id`, `strategy`, `seed` and `knobs`.
        """
        trial, knobs = config["id"], {name: config["knobs"].get(name) for name in self._knobs}
        empty = dict.fromkeys((*METRICS, *_MARKS, "diverged", *EVIDENCE))
        known = next((row for row in self.rows if row["id"] == trial), {"epochs_done": 0, "seconds": 0.0})
        identity = {"id": trial, "strategy": config["strategy"], "seed": config["seed"]}
        row = {**empty, **known, **identity, **knobs, "status": RUNNING}
        self._trials.upsert([row])
        self._start_run(row)

    def epoch(self, trial: str, result: Mapping[str, Any]) -> None:
        """An epoch's report; a repeated one (after a restart) replaces the first."""
        row = {"id": trial, **{name: result[name] for name in ("epoch", *METRICS, "loss", "seconds")}}
        self._history.upsert([row])
        self._latest[trial] = result
        if result["epoch"] in self._horizons:
            self._record_subjects(trial, result["epoch"], result["subjects"])
        self._tracker.log(trial, [_numbers(row)])

    def ended(self, trial: str, status: str, diverged: bool) -> None:
        """A trial has finished or failed: its last epoch's metrics are its result, and the front may change."""
        reports = [row for row in self.epochs if row["id"] == trial]
        (row,) = (row for row in self.rows if row["id"] == trial)
        last = {name: reports[-1][name] for name in METRICS} if reports else {}
        seconds = sum(report["seconds"] for report in reports)
        if trial in self._latest:
            latest = self._latest.pop(trial)
            self._record_subjects(trial, latest["epoch"], latest["subjects"])
        row = {**row, **last, "diverged": diverged, "epochs_done": len(reports), "seconds": seconds, "status": status}
        before = {row["id"]: tuple(row[name] for name in _MARKS) for row in self.rows}
        marked = mark([*(other for other in self.rows if other["id"] != trial), row], self._floor, self._objective)
        self._trials.upsert(marked)
        for row in marked:
            if row["id"] == trial:
                self._end_run(row)
            elif tuple(row[name] for name in _MARKS) != before[row["id"]]:
                self._tracker.tag(row["id"], {name: row[name] for name in _MARKS})

    def result(self, best: Mapping[str, Any] | None, files: Sequence[Path], complete: bool) -> None:
        """End the parent run with the best trial's metrics and the study's files."""
        ended = sum(row["status"] != RUNNING for row in self.rows)
        if best is not None:
            self._tracker.log(PARENT, [{"epoch": ended, **{name: best[name] for name in METRICS}}])
            self._tracker.tag(PARENT, {"best_trial": best["id"]})
        for file in files:
            self._tracker.attach(PARENT, file)
        self._tracker.end(PARENT, "FINISHED" if complete else "KILLED")

    def _record_subjects(self, name: str, epoch: int, values: Mapping[str, Sequence[float]]) -> None:
        rows = [
            {"id": name, "epoch": epoch, "set": subset, "subject": subject}
            | {metric: values[f"{subset}_{metric}"][place] for metric in SUBJECT_METRICS}
            for subset, subjects in self._sets.items()
            for place, subject in enumerate(subjects)
        ]
        self._subjects.upsert(rows)

    def _start_run(self, row: Mapping[str, Any]) -> None:
        outcome = {"id", "status", "epochs_done", "seconds", "diverged", *METRICS, *_MARKS, *EVIDENCE}
        knobs = {name: value for name, value in row.items() if name not in outcome and value is not None}
        self._tracker.start(row["id"], knobs, {"strategy": row["strategy"], "status": row["status"]})

    def _end_run(self, row: Mapping[str, Any]) -> None:
        self._tracker.tag(row["id"], {name: row[name] for name in ("status", "diverged", *_MARKS)})
        self._tracker.end(row["id"], _MLFLOW_STATUS[row["status"]])


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}
