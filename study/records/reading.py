"""A study's records, read back from its folder."""

import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from study.records.failure import StudyError
from study.records.front import best_feasible, picks
from study.records.rows import NetworkRow, ReferenceRow, TrialRow
from study.records.study_record import FILE, StudyRecord, read_record
from study.records.tables import study_tables


@dataclass(frozen=True, kw_only=True)
class StudyData(StudyRecord):
    """A study as it lies on disk: what its study.json says, and its tables.

    Attributes:
        folder: where.
        trials: one row per trial, in the order in which they began; a metric that is not there yet is NaN, a mark
            False.
        history: one row per trial and epoch.
        subjects: one row per trial or reference, epoch and subject: of trials that have ended after their last epoch
            and, in a suite, after each horizon.
        evidence: one row per reference with its evidence; the trials' own is in `trials`.
        requests: one row per step of the deletion requests, method, set and metric; empty without any.
        repeats: one row per pick and further seed of its recipe; empty without any.
    """

    folder: Path
    trials: pd.DataFrame
    history: pd.DataFrame
    subjects: pd.DataFrame
    evidence: pd.DataFrame
    requests: pd.DataFrame
    repeats: pd.DataFrame

    @cached_property
    def rows(self) -> list[TrialRow]:
        """`trials` as typed values."""
        return [TrialRow.of(flat, self) for flat in _flat(self.trials)]

    @cached_property
    def reference_rows(self) -> list[ReferenceRow]:
        """`evidence` as typed values."""
        return [ReferenceRow.of(flat, self) for flat in _flat(self.evidence)]

    @cached_property
    def best(self) -> TrialRow | None:
        """The best feasible trial, which is always on the front; None if no trial is feasible."""
        front = _flat(self.trials[self.trials["on_front"]])
        return best_feasible((TrialRow.of(flat, self) for flat in front), self.objective)

    @cached_property
    def picks(self) -> dict[str, TrialRow]:
        """The trials that somebody may want to ship: `best` and `closest`."""
        return picks(self.rows, self.objective)

    def repeats_of(self, trial: str) -> list[NetworkRow]:
        """What a trial's recipe gave with further seeds; `id` is the trial's."""
        return [NetworkRow.of(flat, self) for flat in _flat(self.repeats[self.repeats["id"] == trial])]


TABLES = ("trials", "history", "subjects", "references", "requests", "repeats")
"""The tables of a study."""


def load_study(folder: Path, tables: Collection[str] = TABLES) -> StudyData:
    """Read the records of a study; tables that do not exist yet are empty.

    Args:
        folder: of the study.
        tables: those to read, as the others can be large; these are empty.

    Raises:
        StudyError: for a folder that holds no study, or records that are damaged or incomplete.
    """
    record = read_record(folder)
    frames = {
        name: _frame(table.read() if name in tables else table.schema.empty_table())
        for name, table in study_tables(folder, record).items()
    }
    return StudyData(**vars(record), folder=folder, evidence=frames.pop("references"), **frames)


def with_history_of(study: StudyData, folder: Path, name: str) -> StudyData:
    """A study that was read without its history, with that of one trial or reference."""
    return replace(study, history=_frame(study_tables(folder, study)["history"].read(id=name)))


def evidence_details(study: StudyData, name: str) -> dict[str, Any]:
    """What the evidence has of a trial's or reference's subjects, as docs/formats.md says; empty without evidence.

    Raises:
        StudyError: the file is damaged.
    """
    path = study.folder / "evidence" / f"{name}.json"
    if not path.is_file():
        return {}
    try:
        details: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise StudyError(f"{path} is damaged: {error}") from error
    return details


def named_folder(studies: Path, name: str) -> Path:
    """The folder of a study.

    Raises:
        StudyError: there is none, with those that are there.
    """
    if not (studies / name / FILE).is_file():
        names = sorted(path.parent.name for path in studies.glob(f"*/{FILE}"))
        raise StudyError(f"no study {name!r} in {studies}; there are {', '.join(names) or 'none'}")
    return studies / name


def named_study(studies: Path, name: str) -> StudyData:
    """Read the records of a study by its name.

    Raises:
        StudyError: there is none, with those that are there; or its records are damaged.
    """
    return load_study(named_folder(studies, name))


def _flat(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return rows


def _frame(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas(integer_object_nulls=True)  # else whole numbers become 3.0 beside a gap
    marks = [name for name in ("feasible", "on_front", "diverged") if name in frame]
    return frame.assign(**{name: frame[name].eq(True) for name in marks})
