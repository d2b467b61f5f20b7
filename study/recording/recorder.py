"""What a study writes down: its tables on disk, and their newest rows in memory."""

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from study.networks.session import Reference
from study.records.front import best_feasible, mark
from study.records.metrics import names_of_scans
from study.records.study_record import StudyRecord
from study.records.tables import Table, study_tables
from study.records.trials import RUNNING

_RECENT = 50
"""Ended trials whose epochs stay in memory, so that to log them needs no reading of the history table."""

Rows = dict[str, dict[str, Any]]


class Recorder:
    """Keeps the study's tables, and marks which trials are on the front.

    One thread writes. Another may read at any time: rows are replaced and never altered, and what holds them is
    copied in one step.

    Attributes:
        folder: of the study.
        record: its study.json. A metric that a trial does not report stays empty.
        complete: whether the study has all its trials; None until the session has a result.
        files: the study's records and pages, once the session has a result.
    """

    def __init__(self, folder: Path, record: StudyRecord):
        """Open the tables of a study's folder."""
        self.folder, self.record = folder, record
        self.complete: bool | None = None
        self.files: Sequence[Path] = ()
        tables = study_tables(folder, record)
        self._trials, self._history = tables["trials"], tables["history"]
        self._subjects, self._references = tables["subjects"], tables["references"]
        self._trial_rows: Rows = {row["id"]: row for row in self._trials.rows}
        self._reference_rows: Rows = {row["id"]: row for row in self._references.rows}
        self._epochs: dict[str, dict[int, dict[str, Any]]] = {}
        self._latest: dict[str, Mapping[str, Any]] = {}
        self._recent: deque[str] = deque()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trial table."""
        return list(self._trial_rows.values())

    @property
    def references(self) -> list[dict[str, Any]]:
        """The table of references."""
        return list(self._reference_rows.values())

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The best feasible trial so far; it is always on the front."""
        return best_feasible((row for row in self.rows if row["on_front"]), self.record.objective)

    @property
    def ended_trials(self) -> int:
        """Trials that nothing is left to do for."""
        return sum(row["status"] != RUNNING for row in self.rows)

    def row(self, name: str) -> dict[str, Any]:
        """The row of a trial or a reference."""
        return self._trial_rows.get(name) or self._reference_rows[name]

    def reported(self, trial: str) -> int:
        """How many of a trial's epochs are in memory: one more after every new one."""
        return len(self._epochs.get(trial, ()))

    def epochs(self, reached: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
        """The epochs of some runs that come after those reached, in order.

        Running trials have theirs in memory; for all others together the history table is read once.

        Args:
            reached: id of a trial or a reference -> an epoch.
        """
        found = {name: epochs.copy() for name in reached if (epochs := self._epochs.get(name)) is not None}
        absent = {name: epoch for name, epoch in reached.items() if name not in found}
        if absent:
            history = self._history.read()
            later = history["epoch"].to_pandas() > history["id"].to_pandas().map(absent)
            for row in history.filter(pa.array(later)).to_pylist():
                found.setdefault(row["id"], {})[row["epoch"]] = row
        return {
            name: [row for epoch, row in sorted(found.get(name, {}).items()) if epoch > last]
            for name, last in reached.items()
        }

    def reference(self, name: str, reference: Reference) -> None:
        """Record a reference, its single subjects and its history."""
        known = self._reference_rows.get(name, dict.fromkeys(self.record.evidence_columns))
        if name not in self._reference_rows:
            self._history.upsert({"id": name, **epoch} for epoch in reference.history)
            self._record_subjects(name, int(reference.history[-1]["epoch"]), reference.subjects)
        row = {**known, "id": name, "digest": reference.digest, "seed": reference.seed, **reference.metrics}
        self._write(self._references, self._reference_rows, [row])

    def gathered(self, name: str, found: Mapping[str, Any]) -> None:
        """Record the evidence on a trial or a reference."""
        for table, rows in ((self._trials, self._trial_rows), (self._references, self._reference_rows)):
            if name in rows:
                self._write(table, rows, [{**rows[name], **dict.fromkeys(self.record.evidence_columns), **found}])

    def started(self, config: Mapping[str, Any]) -> None:
        """A trial begins, or continues; its config has `id`, `strategy`, `seed` and `knobs`."""
        trial, knobs = config["id"], {name: config["knobs"].get(name) for name in self.record.knobs}
        empty = dict.fromkeys(self._trials.schema.names)
        known = self._trial_rows.get(trial, {"epochs_done": 0, "seconds": 0.0})
        identity = {"id": trial, "strategy": config["strategy"], "seed": config["seed"]}
        if trial not in self._epochs:
            earlier = self.epochs({trial: 0})[trial] if trial in self._trial_rows else []
            self._epochs[trial] = {row["epoch"]: row for row in earlier}
        self._write(self._trials, self._trial_rows, [{**empty, **known, **identity, **knobs, "status": RUNNING}])

    def epoch(self, trial: str, result: Mapping[str, Any]) -> None:
        """An epoch's report; a repeated one (after a restart) replaces the first."""
        row = {"id": trial, **{name: result[name] for name in ("epoch", "loss", "seconds")}}
        row |= {name: result.get(name) for name in self.record.metrics} | {"node": result.get("node_ip")}
        self._history.upsert([row])
        self._epochs[trial][row["epoch"]] = row
        self._latest[trial] = result
        if row["epoch"] in self.record.suite.horizons:
            self._record_subjects(trial, row["epoch"], result["subjects"])

    def ended(self, trial: str, status: str, diverged: bool, problem: str | None = None) -> None:
        """A trial is finished, pruned or failed: its last epoch's metrics are its result, and the front may change.

        Args:
            trial: its id.
            status: FINISHED, PRUNED or FAILED.
            diverged: its last loss was not finite.
            problem: what went wrong with it.
        """
        reports = [report for _, report in sorted(self._epochs[trial].items())]
        last = {name: reports[-1][name] for name in self.record.metrics} if reports else {}
        if trial in self._latest:
            latest = self._latest.pop(trial)
            self._record_subjects(trial, latest["epoch"], latest["subjects"])
        row = {**self._trial_rows[trial], **last, "diverged": diverged, "epochs_done": len(reports)}
        row |= {"seconds": sum(report["seconds"] for report in reports), "status": status, "problem": problem}
        leading = [other for other in self._trial_rows.values() if other["on_front"] and other["id"] != trial]
        marked = mark([*leading, row], self.record.constraints, self.record.objective)  # the others stay behind these
        for table in (self._history, self._subjects):  # or a power cut leaves a finished trial without them
            table.sync()
        self._write(
            self._trials, self._trial_rows, [new for new in marked if new["id"] == trial or not new["on_front"]]
        )
        self._trials.sync()
        self._recent.append(trial)
        if len(self._recent) > _RECENT:
            self._epochs.pop(self._recent.popleft(), None)

    def result(self, files: Sequence[Path], complete: bool) -> None:
        """The session is over, with these records and pages, and with all trials or not."""
        self.files, self.complete = files, complete

    def close(self) -> None:
        """Merge what was appended to the tables; one for which the disk has no room stays as it is."""
        for table in (self._trials, self._history, self._subjects, self._references):
            with contextlib.suppress(OSError):
                table.merge()

    def _write(self, table: Table, kept: Rows, rows: Sequence[dict[str, Any]]) -> None:
        table.upsert(rows)
        kept.update({row["id"]: row for row in rows})

    def _record_subjects(self, name: str, epoch: int, values: Mapping[str, Sequence[float]]) -> None:
        scans = names_of_scans(self.record.metrics)
        rows = [
            {"id": name, "epoch": epoch, "set": subset, "subject": subject}
            | {scan: values[f"{subset}_{scan}"][place] for scan in scans if f"{subset}_{scan}" in values}
            for subset, subjects in asdict(self.record.split).items()
            for place, subject in enumerate(subjects)
        ]
        self._subjects.upsert(rows)


def records_of(folder: Path) -> list[Path]:
    """A study's records and pages."""
    kinds = ("*.json", "*.html", "*.md", "*.csv", "*/*.parquet")
    return sorted(path for kind in kinds for path in folder.glob(kind))
