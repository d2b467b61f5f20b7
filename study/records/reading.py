"""A study's records, read back from its folder."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from study.records.constraints import Constraint, parse
from study.records.failure import StudyError
from study.records.files import FORMAT
from study.records.metrics import Metric, MetricTable, recorded
from study.records.objectives import OBJECTIVES, Objective
from study.records.settings import StudySettings
from study.records.tables import (
    history_table,
    references_table,
    requests_table,
    subjects_table,
    trials_table,
)

_KNOB_TYPES = {kind.__name__: kind for kind in (float, int, str, bool)}


class StudyData(NamedTuple):
    """A study as its records tell it.

    Attributes:
        record: its study.json.
        name: of the study.
        space: the search space's file name.
        objective: of the search.
        retain_floor: the least retention of a feasible trial.
        constraints: what a feasible trial meets, the retain floor included.
        knobs: the searched knobs and the names of their types.
        metrics: column -> what it is.
        trials: one row per trial, in the order in which they began; columns as in study.records. A metric that is
            not there yet is NaN, a mark that is not there yet is False.
        history: one row per trial and epoch.
        subjects: one row per trial or reference, epoch and subject: of trials that have ended after their last epoch
            and, in a suite, after each horizon.
        references: `baseline`, `retrained`, `retrained-1`, ... -> metric -> value.
        requests: one row per step of the deletion requests, method, set and metric; empty without any.
        selection: what steered the search and what the evidence reports, as study.planning.steering has it.
        evidence: one row per reference with its evidence; the trials' own is in `trials`.
        published: `retain_dice`, `forget_dice` and `source` of the paper's result, or empty.
        suite: `horizons`, `seeds` and `entries` (`strategy`, `knobs`, `published`) of a suite, or empty.
        classes: of the cohort, the background included.
        planned: trials of the study in all.
        domains: searched knob -> its distribution, as Optuna writes it in JSON; empty for a suite.
    """

    record: dict[str, Any]
    name: str
    space: str
    objective: Objective
    retain_floor: float
    constraints: list[Constraint]
    knobs: dict[str, str]
    metrics: dict[str, Metric]
    trials: pd.DataFrame
    history: pd.DataFrame
    subjects: pd.DataFrame
    references: dict[str, dict[str, float]]
    requests: pd.DataFrame
    selection: dict[str, Any]
    evidence: pd.DataFrame
    published: dict[str, Any]
    suite: dict[str, Any]
    classes: int
    planned: int
    domains: dict[str, Any]


TABLES = ("trials", "history", "subjects", "references", "requests")
"""The tables of a study."""


def load_study(folder: Path, tables: Collection[str] = TABLES) -> StudyData:
    """Read the records of a study; tables that do not exist yet are empty.

    Args:
        folder: of the study.
        tables: those to read, as the others can be large; these are empty.

    Raises:
        StudyError: for a folder that holds no study, or records that are damaged or incomplete.
    """
    study, record = read_record(folder), folder / "study.json"
    try:
        knobs = study["knobs"]
        metrics = recorded(study)
        trials, history, subjects, evidence, requests = _tables(folder, knob_types(knobs), metrics, tables)
        return StudyData(
            record=study,
            name=study["name"],
            space=study["space"],
            objective=OBJECTIVES[study["settings"]["objective"]],
            retain_floor=float(study["settings"]["retain_floor"]),
            constraints=[parse(text) for text in study["constraints"]],
            knobs=knobs,
            metrics=metrics,
            trials=trials,
            history=history,
            references={name: _numbers(metrics) for name, metrics in study["references"].items()},
            subjects=subjects,
            requests=requests,
            selection=study["selection"],
            evidence=evidence,
            published=study["published"],
            suite=study["suite"],
            classes=len(study["cohort"]["classes"]),
            planned=int(study["planned"]),
            domains=study["domains"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StudyError(f"{record} is not a study's record: {type(error).__name__}: {error}") from error


def read_record(folder: Path) -> dict[str, Any]:
    """The study.json of a study.

    Raises:
        StudyError: there is none, it is damaged, or a later version of Lethe wrote it.
    """
    path = folder / "study.json"
    if not path.is_file():
        raise StudyError(f"{folder} is not a study: it holds no study.json")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError(f"{path} is damaged: {error}") from error
    parts = record if isinstance(record, dict) else {}
    wrong = [part for part in ("settings", "cohort", "references") if not isinstance(parts.get(part), dict)]
    if wrong:
        raise StudyError(f"{path} is not a study's record: it has no {', '.join(wrong)}")
    if record.get("format", 1) > FORMAT:
        raise StudyError(f"{path} has format {record['format']}, and this version of Lethe reads up to {FORMAT}")
    return record


def recorded_settings(folder: Path) -> StudySettings:
    """The settings that a study was run with; its folder is where it lies now.

    Raises:
        StudyError: its study.json cannot be read, or has options that this version does not.
    """
    stored = {**read_record(folder)["settings"], "studies": folder.parent, "name": folder.name}
    try:
        return StudySettings.from_plain(stored)
    except StudyError as error:
        raise StudyError([f"{folder / 'study.json'}: {problem}" for problem in error.problems]) from error


def named_folder(studies: Path, name: str) -> Path:
    """The folder of a study.

    Raises:
        StudyError: there is none, with those that are there.
    """
    if not (studies / name / "study.json").is_file():
        names = sorted(path.parent.name for path in studies.glob("*/study.json"))
        raise StudyError(f"no study {name!r} in {studies}; there are {', '.join(names) or 'none'}")
    return studies / name


def named_study(studies: Path, name: str) -> StudyData:
    """Read the records of a study by its name.

    Raises:
        StudyError: there is none, with those that are there; or its records are damaged.
    """
    return load_study(named_folder(studies, name))


def knob_types(knobs: Mapping[str, str]) -> dict[str, type]:
    """The Python types that study.json names."""
    return {name: _KNOB_TYPES[kind] for name, kind in knobs.items()}


def _tables(
    folder: Path, knobs: Mapping[str, type], metrics: MetricTable, wanted: Collection[str]
) -> list[pd.DataFrame]:
    others = (history_table(folder, metrics), subjects_table(folder, metrics), references_table(folder, metrics))
    tables = (trials_table(folder, knobs, metrics), *others, requests_table(folder))
    opened = dict(zip(TABLES, tables, strict=True))
    read = {name: opened[name].read() for name in TABLES if name in wanted}
    return [_frame(read.get(name, table.schema.empty_table())) for name, table in opened.items()]


def _frame(table: pa.Table) -> pd.DataFrame:
    frame = table.to_pandas(integer_object_nulls=True)  # else whole numbers become 3.0 beside a gap
    marks = [name for name in ("feasible", "on_front", "diverged") if name in frame]
    return frame.assign(**{name: frame[name].eq(True) for name in marks})


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
