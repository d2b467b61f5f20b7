"""`python -m analysis.report`: what studies found, as one HTML page and as Markdown."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import pandas as pd  # type: ignore[import-untyped]
import plotly.graph_objects as go
import tyro
from markdown_it import MarkdownIt
from rich.console import Console
from rich.markup import escape

from analysis import numbers
from analysis.attainment import attainment_figure, feasible_points
from analysis.console import verdict
from analysis.curves import curves_figure
from analysis.figures import history_figure, pareto_figure
from analysis.hypervolume import hypervolume
from analysis.importance import FANOVA, LEAST_TRIALS, PED_ANOVA, importance, importance_figure
from analysis.intervals import metric_intervals, values_after
from analysis.knee import knee
from analysis.page import markdown_table, plain, write_page
from analysis.ranking import entries, paired_tests, ranking
from analysis.sensitivity import STEP, sensitivity, sweeps
from analysis.sequence import sequence_figure, sequence_frame, sequence_markdown
from analysis.suite import suite_figure, suite_markdown, suite_table
from study.records.command_lines import sweep_command, trial_command
from study.records.failure import StudyError, fail
from study.records.files import replace_file, studies_folder
from study.records.front import best_feasible
from study.records.reading import StudyData, named_study
from study.records.trials import given

Part: TypeAlias = str | go.Figure
"""Markdown, or a figure."""

_SHOWN = ("retain_dice", "forget_dice", "heldout_dice", "dice_gap", "retention", "retrain_gap")


@dataclass(frozen=True)
class ReportSettings:
    """Write what studies found as report.html, which needs nothing else, and report.md.

    Question, cohort, references, front, what decides it, ranking, the paper's table, evidence, cost and how to
    reproduce it. Several studies are compared too: strategies are ranked, repetitions give attainment surfaces.

    For example:
      python -m analysis.report noisy_label-phantom-9f6626
      python -m analysis.report salun-bids-1a2b3c scrub-bids-4d5e6f --to paper
    """

    study: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of the studies."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies."""
    to: Path | None = None
    """Folder to write to; by default that of the first study."""


def main(arguments: list[str] | None = None) -> int:
    """Write one report; returns the exit code."""
    settings = tyro.cli(ReportSettings, prog="python -m analysis.report", args=arguments)
    try:
        found = [named_study(settings.studies, name) for name in dict.fromkeys(settings.study)]
        if not found:
            raise StudyError(f"name a study of {settings.studies}")
    except StudyError as error:
        return fail(*error.problems, code=error.code)
    folder = settings.to or settings.studies / found[0].name
    folder.mkdir(parents=True, exist_ok=True)
    write_report(found, folder)
    Console().print(f"report          {escape(str(folder / 'report'))}.{{html,md}}", highlight=False, soft_wrap=True)
    return 0


def write_report(studies: Sequence[StudyData], folder: Path) -> None:
    """Write report.html and report.md, each in one step."""
    parts = report(studies)
    text = "\n\n".join(part for part in parts if isinstance(part, str)) + "\n"
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = [renderer.render(part) if isinstance(part, str) else part for part in parts]
    write_page(folder / "report.html", _title(studies), html)
    replace_file(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8"))


def report(studies: Sequence[StudyData]) -> list[Part]:
    """The parts of the report, from top to bottom."""
    parts: list[Part] = [f"# {plain(_title(studies))}"]
    if len(studies) > 1:
        parts += _together(studies)
    for study in studies:
        parts += _one(study, alone=len(studies) == 1)
    return parts


def _title(studies: Sequence[StudyData]) -> str:
    return f"Unlearning study {studies[0].name}" if len(studies) == 1 else f"{len(studies)} unlearning studies"


def _one(study: StudyData, alone: bool) -> list[Part]:
    rows = study.trials.to_dict("records")
    best = best_feasible(rows, study.objective)
    sections = {
        "Question and answer": _answer(study, best),
        "Cohort and split": _cohort(study),
        "References": _references(study),
        "Front": _front(study, rows, best),
        "What decides it": _decides(study, best),
        "Training curves": _curves(study, best),
        "Recipes": _suite(study) if study.suite else [],
        "Strategies": _ranking([study]) if not study.suite and study.trials["strategy"].nunique() > 1 else [],
        "Deletion requests": _requests(study),
        "Evidence": _evidence(study, rows),
        "Cost": _cost(study),
        "How to reproduce it": _reproduce(study, best),
    }
    parts: list[Part] = [] if alone else [f"# {plain(study.name)}"]
    for title, content in sections.items():
        if content:
            parts += [f"## {title}", *content]
    return parts


def _together(studies: Sequence[StudyData]) -> list[Part]:
    rows = []
    for study in studies:
        best = best_feasible(study.trials.to_dict("records"), study.objective)
        shown = {name: numbers.metric(best[name] if best else None) for name in _SHOWN}
        points = feasible_points(study)
        volume = numbers.metric(hypervolume(points[:, 1], points[:, 0]))
        rows.append({"study": study.name, "trials": len(study.trials), **shown, "hypervolume": volume})
    parts: list[Part] = ["## The studies and their best feasible trials", markdown_table(pd.DataFrame(rows))]
    if len({(study.space, study.record["cohort"]["digest"]) for study in studies}) == 1:
        parts += ["## Attainment", attainment_figure(studies)]
        parts.append(
            "The recipe search was repeated: which retain Dice it reaches at a forget Dice in how many studies."
        )
    return [*parts, "## Strategies", *_ranking(studies)]


def _answer(study: StudyData, best: Mapping[str, Any] | None) -> list[Part]:
    split, settings = study.record["split"], study.record["settings"]
    told = " and ".join(f"`{constraint}`" for constraint in study.constraints)
    asked = (
        f"Which recipe forgets {len(split['forget'])} of the {len(split['forget']) + len(split['retain'])} subjects"
        f" that a Med3D-{settings['depth']} was trained on and keeps the others' quality:"
        f" {study.objective.told} where {told}?"
    )
    if best is None:
        return [asked, "**No trial is feasible so far.**"]
    found = metric_intervals(study, values_after(study, [best["id"]], int(best["epochs_done"])))
    kept = {name: _interval(found[name]) for name in ("retention", "retain_dice", "forget_dice", "dice_gap")}
    recipe = ", ".join(f"{name} {numbers.knob(best[name])}" for name in study.knobs if given(best[name]))
    return [
        asked,
        f"**{best['strategy']}** with {recipe} (trial `{best['id']}`): retention {kept['retention']}, retain Dice"
        f" {kept['retain_dice']}, forget Dice {kept['forget_dice']}, Dice gap {kept['dice_gap']} (means with 95 %"
        f" intervals over subjects). Evidence: {verdict(best) if given(best['evidence']) else 'none was gathered'}."
        f" Its weights are in `front/{best['id']}/`.",
    ]


def _cohort(study: StudyData) -> list[Part]:
    cohort, split, settings = (study.record[name] for name in ("cohort", "split", "settings"))
    shape, spacing = " x ".join(map(str, cohort["shape"])), " x ".join(f"{size:.3g}" for size in cohort["spacing_mm"])
    kind = settings["cohort"].partition(":")[0]
    classes = plain(", ".join(cohort["classes"]))
    lines = [
        f"{kind}: {cohort['scans']} scans of {shape} voxels ({spacing} mm), classes {classes}; content hash"
        f" `{cohort['digest']}`."
    ]
    table = [
        {
            "set": name.replace("heldout", "held out"),
            "subjects": len(split[name]),
            "pseudonyms": " ".join(split[name]),
        }
        for name in ("retain", "forget", "heldout", "steering")
        if split[name]
    ]
    return [
        *lines,
        markdown_table(pd.DataFrame(table)),
        *(f"**{text}**" for text in study.selection["warnings"]),
    ]


def _references(study: StudyData) -> list[Part]:
    rows = [
        {"reference": name, **{metric: numbers.metric(found.get(metric)) for metric in _SHOWN[:3]}}
        for name, found in study.references.items()
    ]
    return [markdown_table(pd.DataFrame(rows))]


def _front(study: StudyData, rows: list[dict[str, Any]], best: Mapping[str, Any] | None) -> list[Part]:
    front = sorted((row for row in rows if row["on_front"]), key=lambda row: row[study.objective.forgetting])
    parts: list[Part] = [
        pareto_figure(study).update_layout(height=620),
        history_figure(study).update_layout(height=340),
    ]
    if not front:
        return parts
    place = knee(
        pd.DataFrame(
            [{goal.column: goal.score(row) for goal in study.objective.front[:2]} for row in front]
        ).to_numpy()
    )
    marks = {best["id"]: "best"} if best else {}
    if place is not None:
        marks[front[place]["id"]] = ", ".join(filter(None, [marks.get(front[place]["id"]), "knee"]))
    knobs = [name for name in study.knobs if any(given(row[name]) for row in front)]
    table = [
        {"trial": row["id"], "": marks.get(row["id"], ""), "strategy": row["strategy"]}
        | {name: numbers.knob(row[name] if given(row[name]) else None) for name in knobs}
        | {name: numbers.metric(row[name]) for name in _SHOWN}
        for row in front
    ]
    points = feasible_points(study)
    volume = numbers.metric(hypervolume(points[:, 1], points[:, 0]))
    told = (
        f"{len(front)} of {len(rows)} trials are on the front; it dominates {volume} of the plane of retain and"
        " forget Dice."
    )
    if place is not None:
        told += " The knee is where giving up retain Dice stops paying in forgetting."
    return [*parts, markdown_table(pd.DataFrame(table)), told]


def _decides(study: StudyData, best: Mapping[str, Any] | None) -> list[Part]:
    parts: list[Part] = []
    found = {method: importance(study, method) for method in (FANOVA, PED_ANOVA)}
    if any(found.values()):
        parts.append(importance_figure(found, study.objective.best.column.replace("_", " ")))
    elif study.domains:
        parts.append(f"Importance needs {LEAST_TRIALS} finished trials whose knobs differ.")
    if best is None or not study.domains:
        return parts
    slopes = sensitivity(study, best)
    if len(slopes):
        rows = [
            {"knob": row["knob"], "value": numbers.knob(row["value"])}
            | {
                name: f"{numbers.metric(row[name], signed=True)} ± {numbers.metric(row[f'{name}_error'])}"
                for name in ("retain_dice", "forget_dice", "dice_gap")
            }
            for row in slopes.to_dict("records")
        ]
        parts += [
            f"Around the best trial: the change per step of {STEP:.0%} of a knob's range, with its standard error"
            " (a linear fit to the trials nearest to it).",
            markdown_table(pd.DataFrame(rows)),
        ]
    commands = [sweep_command(study.record, best, name, values) for name, values in sweeps(study, best).items()]
    if commands:
        parts.append("To look closer, one knob at a time:\n\n```\n" + "\n".join(commands) + "\n```")
    return parts


def _curves(study: StudyData, best: Mapping[str, Any] | None) -> list[Part]:
    if study.history.empty:
        return []
    return [
        curves_figure(study, strategy, [best["id"]] if best and best["strategy"] == strategy else []).update_layout(
            height=380
        )
        for strategy in study.trials["strategy"].unique()
    ]


def _suite(study: StudyData) -> list[Part]:
    table = suite_table(study)
    return [suite_figure(study, table), suite_markdown(study)] if len(table) else []


def _ranking(studies: Sequence[StudyData]) -> list[Part]:
    chosen = entries(studies)
    ranked = ranking(chosen)
    if ranked.empty:
        return ["No strategy has a feasible trial."]
    table = [
        {"rank": row["rank"], "strategy": row["strategy"], "runs": row["runs"]}
        | {
            name.replace("_", " "): _interval((row[name], row[f"{name}_low"], row[f"{name}_high"]))
            for name in ("dice_gap", "retain_dice", "forget_dice")
        }
        for row in ranked.to_dict("records")
    ]
    parts: list[Part] = [
        "By the Dice gap of each study's best feasible trial (of a suite: of all its trials); means with 95 %"
        " intervals over runs and subjects.",
        markdown_table(pd.DataFrame(table)),
    ]
    tests = paired_tests(chosen)
    if len(tests):
        shown = tests.assign(**{name: tests[name].map(numbers.metric) for name in ("difference", "p", "p_holm")})
        parts += ["Sign-flip tests on the same subjects and runs, corrected by Holm:", markdown_table(shown)]
    return parts


def _requests(study: StudyData) -> list[Part]:
    if study.sequence.empty:
        return []
    return [sequence_figure(study, sequence_frame(study)), sequence_markdown(study)]


def _evidence(study: StudyData, rows: list[dict[str, Any]]) -> list[Part]:
    examined = [row for row in [*study.evidence.to_dict("records"), *rows] if given(row["evidence"])]
    if not examined:
        return []
    table = [
        {"network": row["id"], "verdict": verdict(row), "forget Dice": numbers.metric(row["forget_dice"])}
        | {"retrained 95 %": f"{numbers.metric(row['retrained_low'])} to {numbers.metric(row['retrained_high'])}"}
        | {name: numbers.metric(row[name]) for name in ("loss_auc", "lira_auc", "rmia_auc", "probe_auc")}
        | {"relearn steps": numbers.steps(row["relearn_steps"]), "resurfaced": numbers.metric(row["resurfaced_dice"])}
        for row in examined
    ]
    return [
        markdown_table(pd.DataFrame(table)),
        "The columns are defined in docs/evidence.md; an AUC of 0.5 is chance.",
    ]


def _cost(study: StudyData) -> list[Part]:
    rows = [
        {
            "status": status,
            "trials": len(group),
            "epochs": int(group["epochs_done"].sum()),
            "trial-seconds": f"{group['seconds'].sum():.0f}",
            "median seconds": f"{group['seconds'].median():.1f}",
        }
        for status, group in study.trials.groupby("status")
    ]
    return [markdown_table(pd.DataFrame(rows))] if rows else []


def _reproduce(study: StudyData, best: Mapping[str, Any] | None) -> list[Part]:
    record = study.record
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    parts: list[Part] = [f"Commit `{record['commit']}`; {versions}; seed {record['settings']['seed']}."]
    if best is not None:
        parts.append(f"The best trial again:\n\n```\n{trial_command(record, best)}\n```")
    settings = pd.DataFrame([{"setting": name, "value": str(value)} for name, value in record["settings"].items()])
    return [*parts, markdown_table(settings)]


def _interval(found: Sequence[float]) -> str:
    mean, low, high = map(numbers.metric, found)
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
