"""What a study writes down: its tables on disk, and their newest rows in memory."""

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from study.networks.session import Reference
from study.records.front import best_feasible, mark, picks
from study.records.metrics import names_of_scans
from study.records.rows import NetworkRow, ReferenceRow, TrialRow
from study.records.study_record import StudyRecord
from study.records.tables import Table, study_tables
from study.records.trials import RUNNING

_RECENT = 50
"""Ended trials whose epochs stay in memory, so that to log them needs no reading of the history table."""

Row = TypeVar("Row", TrialRow, ReferenceRow)


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
        self._repeats = tables["repeats"]
        self._trial_rows = {flat["id"]: TrialRow.of(flat, record) for flat in self._trials.rows}
        self._reference_rows = {flat["id"]: ReferenceRow.of(flat, record) for flat in self._references.rows}
        repeats = (NetworkRow.of(flat, record) for flat in self._repeats.rows)
        self._repeat_rows = {(row.id, row.seed): row for row in repeats}
        self._epochs: dict[str, dict[int, dict[str, Any]]] = {}
        self._latest: dict[str, Mapping[str, Any]] = {}
        self._recent: deque[str] = deque()

    @property
    def rows(self) -> list[TrialRow]:
        """The trials, in the order in which they began."""
        return list(self._trial_rows.values())

    @property
    def references(self) -> list[ReferenceRow]:
        """The references."""
        return list(self._reference_rows.values())

    @property
    def best(self) -> TrialRow | None:
        """The best feasible trial so far; it is always on the front."""
        return best_feasible((row for row in self.rows if row.on_front), self.record.objective)

    @property
    def picks(self) -> dict[str, TrialRow]:
        """The trials so far that somebody may want to ship: `best` and `closest`."""
        return picks(self.rows, self.record.objective)

    @property
    def ended_trials(self) -> int:
        """Trials that nothing is left to do for."""
        return sum(row.status != RUNNING for row in self.rows)

    def row(self, name: str) -> NetworkRow:
        """The trial or the reference of this name."""
        return self._trial_rows.get(name) or self._reference_rows[name]

    def repeats_of(self, trial: str) -> list[NetworkRow]:
        """What a trial's recipe gave with further seeds."""
        return [row for row in self._repeat_rows.copy().values() if row.id == trial]

    def reported(self, trial: str) -> int:
        """How many of a trial's epochs are in memory: one more after every new one."""
        return len(self._epochs.get(trial, ()))

    def epochs(self, reached: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
        """The epochs of some runs that come after those reached, in order.

        Running trials have theirs in memory; for all others together the history table is read once.

        Args:
            reached: id of a trial or a reference -> an epoch.
        """
        known = {name: epochs.copy() for name in reached if (epochs := self._epochs.get(name)) is not None}
        absent = {name: epoch for name, epoch in reached.items() if name not in known}
        if absent:
            history = self._history.read()
            later = history["epoch"].to_pandas() > history["id"].to_pandas().map(absent)
            for row in history.filter(pa.array(later)).to_pylist():
                known.setdefault(row["id"], {})[row["epoch"]] = row
        return {
            name: [row for epoch, row in sorted(known.get(name, {}).items()) if epoch > last]
            for name, last in reached.items()
        }

    def reference(self, name: str, reference: Reference) -> None:
        """Record a reference, its single subjects and its history."""
        known = self._reference_rows.get(name)
        if known is None:
            self._history.upsert({"id": name, **epoch} for epoch in reference.history)
            self._record_subjects(name, int(reference.history[-1]["epoch"]), reference.subjects)
        evidence = known.evidence if known else {}
        known = ReferenceRow(
            id=name, digest=reference.digest, seed=reference.seed, metrics=reference.metrics, evidence=evidence
        )
        self._write(self._references, self._reference_rows, [known])

    def gathered(self, name: str, evidence: Mapping[str, Any]) -> None:
        """Record the evidence on a trial or a reference, its state included."""
        if name in self._trial_rows:
            self._write(self._trials, self._trial_rows, [replace(self._trial_rows[name], evidence=evidence)])
        else:
            known = self._reference_rows[name]
            self._write(self._references, self._reference_rows, [replace(known, evidence=evidence)])

    def repeated(self, row: NetworkRow) -> None:
        """Record what a trial's recipe gave with another seed; `id` is the trial's."""
        self._repeats.upsert([row.flat()])
        self._repeat_rows[row.id, row.seed] = row

    def started(self, config: Mapping[str, Any]) -> None:
        """A trial begins, or continues; its config has `id`, `strategy`, `seed` and `knobs`."""
        trial = config["id"]
        if trial not in self._epochs:
            earlier = self.epochs({trial: 0})[trial] if trial in self._trial_rows else []
            self._epochs[trial] = {row["epoch"]: row for row in earlier}
        knobs = {name: config["knobs"][name] for name in self.record.knobs if name in config["knobs"]}
        names = {name: config[name] for name in ("strategy", "seed")}
        begun = TrialRow(id=trial, knobs=knobs, cpus=self.record.trial_cpus, **names)
        self._write(self._trials, self._trial_rows, [self._trial_rows.get(trial, begun)])

    def epoch(self, trial: str, result: Mapping[str, Any]) -> None:
        """An epoch's report; a repeated one (after a restart) replaces the first."""
        row = {"id": trial, **{name: result[name] for name in ("epoch", "loss", "seconds")}}
        row |= {name: result.get(name) for name in self.record.metrics} | {"node": result.get("node_ip")}
        self._history.upsert([row])
        self._epochs[trial][row["epoch"]] = row
        self._latest[trial] = result
        if row["epoch"] in self.record.suite.horizons:
            self._record_subjects(trial, row["epoch"], result["subjects"])

    def ended(self, trial: str, status: str, diverged: bool, problem: str | None = None) -> TrialRow:
        """End a trial and return its row: its last epoch's metrics are its result, and the front may change.

        Args:
            trial: its id.
            status: FINISHED, PRUNED or FAILED.
            diverged: its last loss was not finite.
            problem: what went wrong with it.
        """
        reports = [report for _, report in sorted(self._epochs[trial].items())]
        last = {name: reports[-1][name] for name in self.record.metrics} if reports else {}
        metrics = {name: value for name, value in last.items() if value is not None}
        if trial in self._latest:
            latest = self._latest.pop(trial)
            self._record_subjects(trial, latest["epoch"], latest["subjects"])
        spent = {"epochs_done": len(reports), "seconds": sum(report["seconds"] for report in reports)}
        row = replace(
            self._trial_rows[trial], metrics=metrics, diverged=diverged, status=status, problem=problem, **spent
        )
        leading = [other for other in self._trial_rows.values() if other.on_front and other.id != trial]
        marked = mark([*leading, row], self.record.constraints, self.record.objective)  # the others stay behind these
        for table in (self._history, self._subjects):  # or a power cut leaves a finished trial without them
            table.sync()
        self._write(self._trials, self._trial_rows, [new for new in marked if new.id == trial or not new.on_front])
        self._trials.sync()
        self._recent.append(trial)
        if len(self._recent) > _RECENT:
            self._epochs.pop(self._recent.popleft(), None)
        return self._trial_rows[trial]

    def result(self, files: Sequence[Path], complete: bool) -> None:
        """The session is over, with these records and pages, and with all trials or not."""
        self.files, self.complete = files, complete

    def close(self) -> None:
        """Merge what was appended to the tables; one for which the disk has no room stays as it is."""
        for table in (self._trials, self._history, self._subjects, self._references, self._repeats):
            with contextlib.suppress(OSError):
                table.merge()

    def _write(self, table: Table, kept: dict[str, Row], rows: Sequence[Row]) -> None:
        table.upsert(row.flat() for row in rows)
        kept.update({row.id: row for row in rows})

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
