"""The rows of trials and references as typed values; their tables hold them flat, a column for each value."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.records.evidence import STATE
from study.records.study_record import StudyRecord
from study.records.tables import study_tables
from study.records.trials import RUNNING, Knob, given


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
        state = self.evidence.get(STATE)
        return state if given(state) else None

    def metric(self, column: str) -> float:
        """A metric; NaN where it is undefined or not there yet."""
        return self.metrics.get(column, math.nan)


@dataclass(frozen=True, kw_only=True)
class TrialRow(NetworkRow):
    """A trial.

    Attributes:
        strategy: its preset.
        knobs: those that it has.
        status: RUNNING, FINISHED, PRUNED or FAILED.
        epochs_done, seconds: in all epochs, once it has ended.
        diverged: its last loss was not finite.
        feasible: it has finished and meets every constraint.
        on_front: no other feasible trial beats it.
        problem: why it failed, or how it ran out of memory.
    """

    strategy: str
    knobs: Mapping[str, Knob]
    status: str = RUNNING
    epochs_done: int = 0
    seconds: float = 0.0
    diverged: bool = False
    feasible: bool = False
    on_front: bool = False
    problem: str | None = None

    @property
    def results(self) -> dict[str, float]:
        """What objectives and constraints are about: the metrics and the seconds."""
        return {**self.metrics, "seconds": self.seconds}

    @property
    def marks(self) -> dict[str, bool]:
        """How it has ended; empty before."""
        marks = {"diverged": self.diverged, "feasible": self.feasible, "on_front": self.on_front}
        return {} if self.status == RUNNING else marks

    def flat(self) -> dict[str, Any]:
        """The row as its table takes it."""
        known = {"id": self.id, "strategy": self.strategy, "seed": self.seed, **self.knobs, **self.metrics}
        spent = {"epochs_done": self.epochs_done, "seconds": self.seconds}
        return known | self.marks | spent | {"status": self.status, "problem": self.problem, **self.evidence}

    @classmethod
    def of(cls, flat: Mapping[str, Any], record: StudyRecord) -> "TrialRow":
        """The row that a study's table, or a data frame of it, has flat."""
        return cls(
            **{name: flat[name] for name in ("id", "strategy", "seed", "status", "epochs_done", "seconds")},
            diverged=flat["diverged"] is True,
            feasible=flat["feasible"] is True,
            on_front=flat["on_front"] is True,
            problem=flat["problem"] if given(flat["problem"]) else None,
            knobs={name: flat[name] for name in record.knobs if given(flat[name])},
            metrics=_there(flat, record.metrics),
            evidence=_there(flat, record.evidence_columns),
        )


@dataclass(frozen=True, kw_only=True)
class ReferenceRow(NetworkRow):
    """A reference, with the hash of everything that decided its weights."""

    digest: str

    def flat(self) -> dict[str, Any]:
        """The row as its table takes it."""
        return {"id": self.id, "digest": self.digest, "seed": self.seed, **self.metrics, **self.evidence}

    @classmethod
    def of(cls, flat: Mapping[str, Any], record: StudyRecord) -> "ReferenceRow":
        """The row that a study's table, or a data frame of it, has flat."""
        metrics, evidence = _there(flat, record.metrics), _there(flat, record.evidence_columns)
        return cls(id=flat["id"], digest=flat["digest"], seed=flat["seed"], metrics=metrics, evidence=evidence)


def trial_rows(folder: Path, record: StudyRecord) -> list[TrialRow]:
    """The trials of the study in a folder, in the order in which they began."""
    return [TrialRow.of(flat, record) for flat in study_tables(folder, record)["trials"].rows]


def _there(flat: Mapping[str, Any], columns: Collection[str]) -> dict[str, Any]:
    return {name: flat[name] for name in columns if flat.get(name) is not None}
