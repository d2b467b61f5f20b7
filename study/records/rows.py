"""The rows of trials and references as typed values; their tables hold them flat, a column for each value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from study.records.evidence import STATE
from study.records.study_record import StudyRecord
from study.records.tables import study_tables
from study.records.trials import RUNNING, Knob

Row = TypeVar("Row", bound="NetworkRow")


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """A trial, or a reference.

    Attributes:
        id: of a trial the hash of strategy, knobs, seed and baseline; `baseline`, `retrained`, `retrained-1`, ...
        seed: of its own draws.
        metrics: of its last epoch, NaN where undefined; empty before the first.
        evidence: what its examination gave, by column; empty without one.
    """

    id: str
    seed: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def examined(self) -> str | None:
        """Stands for the settings of its examination."""
        return self.evidence.get(STATE)

    def metric(self, column: str) -> float:
        """A metric; NaN where it is undefined or not there yet."""
        return self.metrics.get(column, math.nan)

    def flat(self) -> dict[str, Any]:
        """The row as its table takes it."""
        flat: dict[str, Any] = {}
        for name, value in vars(self).items():
            flat |= value if isinstance(value, Mapping) else {name: value}
        return flat

    @classmethod
    def of(cls: type[Row], flat: Mapping[str, Any], record: StudyRecord) -> Row:
        """The row that a table of this study has flat; what is missing is None there."""
        values: dict[str, Any] = {place.name: flat.get(place.name) for place in fields(cls)}
        columns = {"knobs": record.knobs, "metrics": record.metrics, "evidence": record.evidence_columns}
        for name in values.keys() & columns:
            values[name] = {column: flat[column] for column in columns[name] if flat.get(column) is not None}
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class TrialRow(NetworkRow):
    """A trial.

    Attributes:
        strategy: its preset.
        knobs: those that it has.
        status: RUNNING, FINISHED, PRUNED or FAILED.
        epochs_done, seconds: in all epochs, once it has ended.
        diverged: its last loss was not finite; None until it has ended, like the next two.
        feasible: it has finished and meets every constraint.
        on_front: no other feasible trial beats it.
        problem: why it failed, or how it ran out of memory.
        cpus: that it got; None in studies of version 0.1.
    """

    strategy: str
    knobs: Mapping[str, Knob]
    status: str = RUNNING
    epochs_done: int = 0
    seconds: float = 0.0
    diverged: bool | None = None
    feasible: bool | None = None
    on_front: bool | None = None
    problem: str | None = None
    cpus: int | None = None

    @property
    def results(self) -> dict[str, float]:
        """What objectives and constraints are about: the metrics and the seconds."""
        return {**self.metrics, "seconds": self.seconds}


@dataclass(frozen=True, kw_only=True)
class ReferenceRow(NetworkRow):
    """A reference, with the hash of everything that decided its weights."""

    digest: str


def trial_rows(folder: Path, record: StudyRecord) -> list[TrialRow]:
    """The trials of the study in a folder, in the order in which they began."""
    return [TrialRow.of(flat, record) for flat in study_tables(folder, record)["trials"].rows]
