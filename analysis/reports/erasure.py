"""The erasure report of one trial: what was forgotten, what was kept, and how that is known."""

import json
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from analysis import numbers
from analysis.evidence import warnings
from analysis.reports.page import write_page
from analysis.reports.terminal_tables import verdict
from analysis.statistics.intervals import metric_intervals, values_after
from study.records.evidence import EVIDENCE
from study.records.files import replace_file
from study.records.reading import StudyData
from study.records.trials import given

_ASKED = {
    "Does it treat the forgotten like a retrained network?": ("retrained_low", "retrained_high", "equivalence_p"),
    "Can an attack tell them from subjects it never saw? (AUC, 0.5: no)": (
        *("loss_auc", "dice_auc", "lira_auc", "rmia_auc", "pooled_auc", "probe_auc"),
    ),
    "Do they come back?": (
        *("relearn_steps", "relearn_steps_retrained", "resurfaced_dice", "resurfaced_dice_retrained"),
    ),
    "How far is it from a retrained network?": (
        *("subject_gap", "class_gap", "activation_distance", "activation_distance_retrained"),
    ),
    "Does the forgetting itself show who was erased?": ("streisand_p",),
}
"""The questions of the report and the evidence columns that answer them (docs/evidence.md)."""


def erasure_report(study: StudyData, row: Mapping[str, Any]) -> dict[str, Any]:
    """The report as plain values.

    Args:
        study: the study's tables.
        row: of the trial, in the trial table.
    """
    values = values_after(study, [row["id"]], int(row["epochs_done"]))
    references = study.evidence.to_dict("records")
    record, selection = study.record, study.selection
    weak = warnings(
        len(record["split"]["forget"]),
        len(selection["report_heldout"]),
        len(selection["report_references"]),
        record["settings"]["forget_draws"],
    )
    return {
        "study": study.name,
        "trial": row["id"],
        "strategy": row["strategy"],
        "knobs": {name: row[name] for name in study.knobs if given(row[name])},
        "seed": int(row["seed"]),
        "feasible": bool(row["feasible"]),
        "objective": study.objective.best.column,
        "retain_floor": study.retain_floor,
        "constraints": record["constraints"],
        "metrics": {name: interval._asdict() for name, interval in metric_intervals(study, values).items()},
        "evidence": _evidence(row),
        "verdict": verdict(row) if row["evidence"] else "no evidence was gathered",
        "references": {r["id"]: {"forget_dice": r["forget_dice"], "evidence": _evidence(r)} for r in references},
        "warnings": [*selection["warnings"], *weak],
        "selection": selection,
        "subjects": record["split"],
        "cohort": record["cohort"],
        "versions": record["versions"],
        "commit": record["commit"],
    }


def write_report(report: Mapping[str, Any], figure: go.Figure, folder: Path) -> None:
    """Write report.json and report.html."""
    plain = json.dumps(_plain(report), indent=1) + "\n"
    replace_file(folder / "report.json", lambda path: path.write_text(plain, encoding="utf-8"))
    parts = [_above(report), figure, _below(report)]
    write_page(folder / "report.html", f"Erasure report of {report['trial']}", parts)


def _above(report: Mapping[str, Any]) -> str:
    metrics = report["metrics"]
    kept, gone = _with_interval(metrics["retention"]), _with_interval(metrics["forget_dice"])
    lines = [
        f"<h1>Erasure report</h1><p>Trial <code>{escape(report['trial'])}</code> of study {escape(report['study'])}:"
        f" {escape(report['strategy'])}. Verdict: <b>{escape(report['verdict'])}</b>"
        + ("" if report["feasible"] else " <span class=warn>(infeasible: below the retain floor)</span>")
        + f". Retention {kept}, forget Dice {gone}.</p>"
    ]
    lines += [f"<p class=warn>{escape(warning)}</p>" for warning in report["warnings"]]
    return "\n".join(lines)


def _below(report: Mapping[str, Any]) -> str:
    parts = ["<h2>Metrics, with 95 % intervals over subjects</h2>"]
    parts.append(_table([[name, _with_interval(interval)] for name, interval in report["metrics"].items()]))
    for question, columns in _ASKED.items():
        parts.append(f"<h2>{escape(question)}</h2>")
        names = ["", report["trial"], *report["references"]]
        examined = [report["evidence"], *(reference["evidence"] for reference in report["references"].values())]
        rows = [[column, *(_bounded(evidence, column) for evidence in examined)] for column in columns]
        parts.append(_table([names, *rows]))
    identity = ("knobs", "seed", "subjects", "selection", "hashes", "versions", "commit")
    parts.append("<h2>Identity</h2>")
    parts.append(_table([[name, json.dumps(report[name])] for name in identity]))
    parts.append(f"<h2>How to reproduce it</h2><pre>{escape(report['command'])}</pre>")
    return "\n".join(parts)


def _table(rows: list[list[str]]) -> str:
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _with_interval(interval: Mapping[str, float]) -> str:
    mean, low, high = (numbers.metric(interval[name]) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _bounded(evidence: Mapping[str, Any], column: str) -> str:
    value = evidence.get(column)
    if column.startswith("relearn"):
        return numbers.steps(value)
    if f"{column}_low" in evidence:
        bounds = {end: evidence[f"{column}_{end}"] for end in ("low", "high")}
        return _with_interval({"mean": evidence[column], **bounds})
    return numbers.metric(value)


def _evidence(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] if given(row[name]) else None for name in EVIDENCE if name != "evidence"}


def _plain(value: Any) -> Any:
    """Values that strict JSON can hold: no NaN, and infinity as a word."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinity"
    return value
