"""The erasure report of one trial: what was forgotten, what was kept, and how that is known."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from analysis import numbers
from analysis.reports.page import write_page
from analysis.reports.places import NOTE, place_rows
from analysis.reports.shortfalls import ONE_DRAW, recipe_again, shortfalls
from analysis.reports.terminal_tables import verdict
from analysis.statistics.intervals import metric_intervals, values_after
from analysis.statistics.membership import resolution
from analysis.statistics.price import price
from study.records.evidence import ATTACK, STATE, EvidenceColumn
from study.records.files import replace_file
from study.records.reading import StudyData, evidence_details
from study.records.rows import NetworkRow, TrialRow


def erasure_report(study: StudyData, row: TrialRow) -> dict[str, Any]:
    """The report on a trial, as plain values."""
    selection, columns = study.selection, study.evidence_columns
    again = recipe_again(study, row)
    intervals = metric_intervals(study, values_after(study, [row.id], row.epochs_done))
    return {
        "study": study.name,
        "trial": row.id,
        "strategy": row.strategy,
        "knobs": row.knobs,
        "seed": row.seed,
        "feasible": row.feasible,
        "objective": study.objective.best.column,
        "retain_floor": study.settings.retain_floor,
        "constraints": list(map(str, study.constraints)),
        "metrics": {name: interval._asdict() for name, interval in intervals.items()},
        "evidence": _evidence(row, columns),
        "questions": _questions(columns),
        "verdict": verdict(row) if row.examined else "no evidence was gathered",
        "references": {
            other.id: {"forget_dice": other.metric("forget_dice"), "evidence": _evidence(other, columns)}
            for other in study.reference_rows
        },
        "reasons": row.evidence.get("reasons", ""),
        "places": evidence_details(study, row.id).get("places", {}),
        "attacks": resolution(len(study.split.forget), len(selection.report_heldout)),
        "price": str(price(study, row) or ""),
        "repeats": f"{again} {ONE_DRAW}" if again else "",
        "warnings": [*shortfalls(row, study.settings.retain_floor), *selection.warnings],
        "selection": asdict(selection),
        "subjects": asdict(study.split),
        "cohort": asdict(study.cohort),
        "versions": study.versions,
        "commit": study.commit,
    }


def write_report(report: Mapping[str, Any], figure: go.Figure, folder: Path) -> None:
    """Write report.json and report.html."""
    plain = json.dumps(_plain(report), indent=1) + "\n"
    replace_file(folder / "report.json", lambda path: path.write_text(plain, encoding="utf-8"))
    parts = [_above(report), figure, _below(report)]
    write_page(folder / "report.html", f"Erasure report of {report['trial']}", parts)


def _above(report: Mapping[str, Any]) -> str:
    kept, forgotten = (numbers.interval(report["metrics"][name].values()) for name in ("retention", "forget_dice"))
    answer = (
        f"<h1>Erasure report</h1><p>Trial <code>{escape(report['trial'])}</code> of study {escape(report['study'])}:"
        f" {escape(report['strategy'])}. Verdict: <b>{escape(report['verdict'])}</b>"
        + (f": {escape(report['reasons'])}" if report["reasons"] else "")
        + ("" if report["feasible"] else " <span class=warn>(infeasible: below the retain floor)</span>")
        + f". Retention {kept}, forget Dice {forgotten}."
        + "".join(f" {escape(report[name])}" for name in ("price", "repeats") if report[name])
        + "</p>"
    )
    return "\n".join([answer, *(f"<p class=warn>{escape(warning)}</p>" for warning in report["warnings"])])


def _below(report: Mapping[str, Any]) -> str:
    parts = ["<h2>Metrics, with 95 % intervals over subjects</h2>"]
    parts.append(_table([[name, numbers.interval(bounds.values())] for name, bounds in report["metrics"].items()]))
    networks = [report["evidence"], *(reference["evidence"] for reference in report["references"].values())]
    tables = {}
    for question, columns in report["questions"].items():
        rows = [["", report["trial"], *report["references"], "a network that never saw them"]]
        for name, column in columns.items():
            cells = [_cell(evidence, name, column) for evidence in networks]
            rows.append([name, *cells, column.get("never_seen", numbers.MISSING)])
        tables[question] = _table(rows)
    appendix = tables.pop(ATTACK, "")
    for question, table in tables.items():
        parts += [f"<h2>{escape(question)}</h2>", table]
    places = place_rows(report)
    if places:
        rows = [list(places[0]), *(list(row.values()) for row in places)]
        parts += ["<h2>Each forget subject by itself</h2>", f"<p>{escape(NOTE)}</p>", _table(rows)]
    identity = ("knobs", "seed", "subjects", "selection", "hashes", "versions", "commit")
    parts += ["<h2>Identity</h2>", _table([[name, json.dumps(report[name])] for name in identity])]
    parts.append(f"<h2>How to reproduce it</h2><pre>{escape(report['command'])}</pre>")
    parts += [f"<h2>Appendix: {escape(ATTACK)}</h2><p>{escape(report['attacks'])}</p>", appendix]
    return "\n".join(parts)


def _table(rows: list[list[str]]) -> str:
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


def _cell(evidence: Mapping[str, Any], name: str, column: Mapping[str, str]) -> str:
    if column.get("type") == "str":
        return str(evidence.get(name) or numbers.MISSING)
    return numbers.evidence(evidence, name, column.get("unit", ""))


def _evidence(row: NetworkRow, columns: Mapping[str, EvidenceColumn]) -> dict[str, Any]:
    return {name: row.evidence.get(name) for name in columns if name != STATE}


def _questions(columns: Mapping[str, EvidenceColumn]) -> dict[str, dict[str, dict[str, str]]]:
    """Question -> the columns that answer it, each as study.json describes it."""
    questions: dict[str, dict[str, dict[str, str]]] = {}
    for name, column in columns.items():
        if column.question:
            questions.setdefault(column.question, {})[name] = column.plain()
    return questions


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
