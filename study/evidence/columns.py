"""The evidence columns of a study: what every measure and every conclusion there is fills."""

import json
from collections.abc import Iterator
from pathlib import Path

from analysis.evidence.conclude import conclusions
from study.records.evidence import STATE, EvidenceColumn, evidence_columns
from study.records.failure import StudyError
from trainables.evidence.measure import Measure
from trainables.evidence.measurements import MEASURES


def all_columns() -> dict[str, EvidenceColumn]:
    """The columns of every measure and conclusion.

    Raises:
        StudyError: an installed measure cannot be imported, or fills another's column.
    """
    try:
        measures = {name: MEASURES.load(name) for name in MEASURES.names()}
    except ValueError as error:
        raise StudyError(str(error)) from error
    columns: dict[str, EvidenceColumn] = {STATE: EvidenceColumn("str")}
    groups = [conclusion.columns for conclusion in conclusions().values()]
    groups += [dict(_columns_of(name, measure)) for name, measure in measures.items()]
    for group in groups:
        twice = sorted(columns.keys() & group.keys())
        if twice:
            raise StudyError(f"two measures or conclusions fill the evidence column {', '.join(twice)}")
        columns |= group
    return columns


def plain_columns(folder: Path) -> dict[str, dict[str, str]]:
    """What study.json says of the columns: of a study that goes on, those that it has, and those that are new."""
    record = folder / "study.json"
    recorded = evidence_columns(json.loads(record.read_text(encoding="utf-8"))) if record.exists() else {}
    return {name: column.plain() for name, column in {**recorded, **all_columns()}.items()}


def _columns_of(name: str, measure: Measure) -> Iterator[tuple[str, EvidenceColumn]]:
    never_seen = f"as retrained; {measure.remembered} if it remembers"
    yield name, EvidenceColumn("float", measure.title, measure.question, never_seen, measure.unit)
    yield f"{name}_retrained", EvidenceColumn("float", "", measure.question, "", measure.unit)
