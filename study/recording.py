"""What a study writes down: tables on disk first, then MLflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.front import mark
from study.records import FAILED, FINISHED, METRICS, RUNNING, Knob, history_table, trials_table
from study.tracking import PARENT, Tracker

_MARKS = ("feasible", "on_front")
_MLFLOW_STATUS = {FINISHED: "FINISHED", FAILED: "FAILED", RUNNING: "KILLED"}


class Recorder:
    """Keeps trials.parquet, history.parquet and MLflow up to date; knows which trials are on the front."""

    def __init__(self, folder: Path, knobs: Mapping[str, type], strategy: str, retain_floor: float, tracker: Tracker):
        self._trials, self._history = trials_table(folder, knobs), history_table(folder)
        self._strategy, self._floor, self._tracker = strategy, retain_floor, tracker

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trial table."""
        return self._trials.rows

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

    def reference(self, name: str, digest: str, history: Sequence[Mapping[str, float]]) -> None:
        """Log a reference; its record is the cached reference itself."""
        self._tracker.start(name, {"reference": name, "digest": digest}, {"status": FINISHED})
        self._tracker.log(name, history)
        self._tracker.end(name, "FINISHED")

    def started(self, trial: str, knobs: Mapping[str, Knob]) -> None:
        """A trial begins, or continues."""
        empty = dict.fromkeys((*METRICS, *_MARKS, "diverged"))
        known = next((row for row in self.rows if row["id"] == trial), {"epochs_done": 0, "seconds": 0.0})
        row = {**empty, **known, "id": trial, "strategy": self._strategy, **knobs, "status": RUNNING}
        self._trials.upsert([row])
        self._start_run(row)

    def epoch(self, trial: str, result: Mapping[str, Any]) -> None:
        """An epoch's report; a repeated one (after a restart) replaces the first."""
        row = {"id": trial, **{name: result[name] for name in ("epoch", *METRICS, "loss", "seconds")}}
        self._history.upsert([row])
        self._tracker.log(trial, [_numbers(row)])

    def ended(self, trial: str, status: str, diverged: bool) -> None:
        """A trial has finished or failed: its last epoch's metrics are its result, and the front may change."""
        reports = [row for row in self.epochs if row["id"] == trial]
        (row,) = (row for row in self.rows if row["id"] == trial)
        last = {name: reports[-1][name] for name in METRICS} if reports else {}
        seconds = sum(report["seconds"] for report in reports)
        row = {**row, **last, "diverged": diverged, "epochs_done": len(reports), "seconds": seconds, "status": status}
        before = {row["id"]: tuple(row[name] for name in _MARKS) for row in self.rows}
        marked = mark([*(other for other in self.rows if other["id"] != trial), row], self._floor)
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

    def _start_run(self, row: Mapping[str, Any]) -> None:
        outcome = {"id", "status", "epochs_done", "seconds", "diverged", *METRICS, *_MARKS}
        knobs = {name: value for name, value in row.items() if name not in outcome}
        self._tracker.start(row["id"], knobs, {"strategy": row["strategy"], "status": row["status"]})

    def _end_run(self, row: Mapping[str, Any]) -> None:
        self._tracker.tag(row["id"], {name: row[name] for name in ("status", "diverged", *_MARKS)})
        self._tracker.end(row["id"], _MLFLOW_STATUS[row["status"]])


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}
