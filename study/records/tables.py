"""The tables of a study: their folders, columns and keys."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from study.records.evidence import EVIDENCE, EvidenceColumn
from study.records.metrics import METRICS, MetricTable, names_of_scans
from study.records.study_record import StudyRecord
from study.records.table import Table

Columns = Mapping[str, EvidenceColumn]


def study_tables(folder: Path, record: StudyRecord) -> dict[str, Table]:
    """Every table of a study by its name, with the columns that its study.json says."""
    metrics, evidence = record.metrics, record.evidence_columns
    return {
        "trials": trials_table(folder, record.knobs, metrics, evidence),
        "history": history_table(folder, metrics),
        "subjects": subjects_table(folder, metrics),
        "references": references_table(folder, metrics, evidence),
        "requests": requests_table(folder),
        "repeats": repeats_table(folder, metrics, evidence),
    }


def trials_table(
    folder: Path, knobs: Mapping[str, type], metrics: MetricTable = METRICS, evidence: Columns = EVIDENCE
) -> Table:
    """The table of a study's trials, one row per trial id, in the study's folder: a column for each of these."""
    arrow = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    columns = [("id", pa.string()), ("strategy", pa.string()), ("seed", pa.int64())]
    columns += [(name, arrow[kind]) for name, kind in knobs.items()]
    columns += [(name, pa.float64()) for name in metrics]
    columns += [(name, pa.bool_()) for name in ("feasible", "on_front", "diverged")]
    columns += [("epochs_done", pa.int64()), ("seconds", pa.float64()), ("status", pa.string())]
    columns += [("problem", pa.string()), ("cpus", pa.int64()), *_arrow(evidence)]
    return Table(folder / "trials", pa.schema(columns), ("id",))


def references_table(folder: Path, metrics: MetricTable = METRICS, evidence: Columns = EVIDENCE) -> Table:
    """The table of a study's references, one row per name (baseline, retrained, retrained-1, ...)."""
    columns = [("id", pa.string()), ("digest", pa.string()), ("seed", pa.int64())]
    columns += [(name, pa.float64()) for name, metric in metrics.items() if metric.subset]
    return Table(folder / "references", pa.schema([*columns, *_arrow(evidence)]), ("id",))


def history_table(folder: Path, metrics: MetricTable = METRICS) -> Table:
    """The table of a study's epochs, one row per trial id and epoch (from 1), with the address of its node."""
    columns = [("id", pa.string()), ("epoch", pa.int64()), *((name, pa.float64()) for name in metrics)]
    schema = pa.schema([*columns, ("loss", pa.float64()), ("seconds", pa.float64()), ("node", pa.string())])
    return Table(folder / "history", schema, ("id", "epoch"))


def subjects_table(folder: Path, metrics: MetricTable = METRICS) -> Table:
    """The table of single subjects: one row per trial or reference id, epoch and subject (a pseudonym)."""
    columns = [("id", pa.string()), ("epoch", pa.int64()), ("set", pa.string()), ("subject", pa.string())]
    schema = pa.schema([*columns, *((name, pa.float64()) for name in names_of_scans(metrics))])
    return Table(folder / "subjects", schema, ("id", "epoch", "subject"))


def requests_table(folder: Path) -> Table:
    """The table of deletion requests: one value per step, method, set (request-N too) and metric."""
    columns = [("step", pa.int64()), ("method", pa.string()), ("trial", pa.string()), ("set", pa.string())]
    schema = pa.schema([*columns, ("metric", pa.string()), ("value", pa.float64())])
    earlier = folder / "sequence"  # its name in version 0.1
    return Table(earlier if earlier.is_dir() else folder / "requests", schema, ("step", "method", "set", "metric"))


def repeats_table(folder: Path, metrics: MetricTable = METRICS, evidence: Columns = EVIDENCE) -> Table:
    """The table of the picks' recipes over further seeds: one row per trial id and seed."""
    columns = [("id", pa.string()), ("seed", pa.int64()), *((name, pa.float64()) for name in metrics)]
    return Table(folder / "repeats", pa.schema([*columns, *_arrow(evidence)]), ("id", "seed"))


def _arrow(evidence: Columns) -> list[tuple[str, pa.DataType]]:
    return [(name, column.arrow) for name, column in evidence.items()]
