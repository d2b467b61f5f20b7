"""The sections of a study's report: Markdown and figures. A section with nothing to say is empty."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TypeAlias

import numpy as np
import plotly.graph_objects as go

from analysis import numbers
from analysis.figures.charts import importance_figure, suite_figure
from analysis.figures.curves import curves_figure
from analysis.figures.front import front_figure, history_figure
from analysis.figures.requests import requests_figure, requests_frame
from analysis.reports.page import markdown_table, plain
from analysis.reports.places import NOTE, place_rows
from analysis.reports.shortfalls import ONE_DRAW, remarks, verdicts
from analysis.reports.tables import requests_markdown, suite_markdown
from analysis.reports.terminal_tables import verdict, verdict_lines
from analysis.statistics.intervals import metric_intervals, values_after
from analysis.statistics.knobs import FANOVA, LEAST_TRIALS, PED_ANOVA, STEP, importance, sensitivity, sweeps
from analysis.statistics.membership import resolution
from analysis.statistics.plane import covered, knee
from analysis.statistics.recipes import entries, paired_tests, ranking, suite_table
from analysis.statistics.repeats import FIGURES, value_of, varied
from analysis.statistics.significance import reach
from study.records.command_lines import sweep_command, trial_command
from study.records.evidence import ATTACK
from study.records.metrics import shown
from study.records.reading import StudyData, evidence_details
from study.records.rows import NetworkRow, TrialRow

Part: TypeAlias = str | go.Figure
"""Markdown, or a figure."""


def question_and_answer(study: StudyData) -> list[Part]:
    """What the study searched for, and its picks with intervals over subjects."""
    split, settings = study.split, study.settings
    constraints = " and ".join(f"`{constraint}`" for constraint in study.constraints)
    question = (
        f"Which recipe forgets {len(split.forget)} of the {len(split.forget) + len(split.retain)} subjects"
        f" that a Med3D-{settings.depth} was trained on and keeps the others' quality:"
        f" {study.objective.told} where {constraints}?"
    )
    answers = [_answer(study, name, row) for name, row in study.picks.items()]
    return [question, *(answers or ["**No trial is feasible so far.**"])]


def _answer(study: StudyData, name: str, row: TrialRow) -> str:
    """A pick: its recipe, its metrics and what the evidence says."""
    intervals = metric_intervals(study, values_after(study, [row.id], row.epochs_done))
    retention, retain, forget, gap = (
        numbers.interval(intervals[column]) for column in ("retention", "retain_dice", "forget_dice", "dice_gap")
    )
    recipe = ", ".join(f"{knob} {numbers.knob(value)}" for knob, value in row.knobs.items())
    said = ": ".join([f"**{verdict(row)}**", *filter(None, [row.evidence.get("reasons")])])
    said = said if row.examined else "none was gathered"
    return (
        f"*{name}*: **{row.strategy}** with {recipe} (trial `{row.id}`): retention {retention}, retain Dice"
        f" {retain}, forget Dice {forget}, Dice gap {gap} (means with 95 % intervals over subjects)."
        f" Evidence: {said}. Its weights are in `front/{row.id}/`."
        + "".join(f"\n- {sentence}" for sentence in remarks(study, row))
    )


def cohort_and_split(study: StudyData) -> list[Part]:
    """The scans, their hash, and the subjects of each set by pseudonym."""
    cohort, split = study.cohort, asdict(study.split)
    shape, spacing = " x ".join(map(str, cohort.shape)), " x ".join(f"{size:.3g}" for size in cohort.spacing_mm)
    kind = study.settings.cohort.partition(":")[0]
    sentence = (
        f"{kind}: {cohort.scans} scans of {shape} voxels ({spacing} mm), classes"
        f" {plain(', '.join(cohort.classes))}; content hash `{cohort.digest}`."
    )
    rows = [
        {
            "set": name.replace("heldout", "held out"),
            "subjects": len(subjects),
            "pseudonyms": " ".join(subjects),
        }
        for name, subjects in split.items()
        if subjects
    ]
    return [sentence, markdown_table(rows), *(f"**{text}**" for text in study.selection.warnings)]


def references(study: StudyData) -> list[Part]:
    """What the metrics of a scan say of the baseline and of the retrained networks."""
    columns = [name for name in shown(study.metrics) if study.metrics[name].subset]
    rows = [
        {"reference": name, **{column: numbers.metric(known.metrics.get(column)) for column in columns}}
        for name, known in study.references.items()
    ]
    return [markdown_table(rows)]


def front(study: StudyData) -> list[Part]:
    """The figures of the front and of the search, and the front's trials with its best one and its knee."""
    best, forgetting = study.best, study.objective.forgetting
    figures: list[Part] = [
        front_figure(study).update_layout(height=620),
        history_figure(study).update_layout(height=340),
    ]
    leading = sorted((row for row in study.rows if row.on_front), key=lambda row: row.metric(forgetting))
    if not leading:
        return figures
    goals = study.objective.front[:2]
    place = knee(np.array([[goal.score(row.results) for goal in goals] for row in leading]))
    marks = {best.id: ["best"]} if best else {}
    if place is not None:
        marks.setdefault(leading[place].id, []).append("knee")
    knobs = [name for name in study.knobs if any(name in row.knobs for row in leading)]
    table = [
        {"trial": row.id, "": ", ".join(marks.get(row.id, [])), "strategy": row.strategy}
        | {name: numbers.knob(row.knobs.get(name)) for name in knobs}
        | {name: numbers.metric(row.metric(name)) for name in shown(study.metrics)}
        for row in leading
    ]
    sentence = (
        f"{len(leading)} of {len(study.rows)} trials are on the front; it dominates {numbers.metric(covered(study))}"
        " of the plane of retain and forget Dice."
    )
    if place is not None:
        sentence += " The knee is where giving up retain Dice stops paying in forgetting."
    return [*figures, markdown_table(table), sentence]


def what_decides(study: StudyData) -> list[Part]:
    """The importance of the knobs, the slopes around the best trial, and the sweeps that would tell more."""
    parts: list[Part] = []
    shares = {method: importance(study, method) for method in (FANOVA, PED_ANOVA)}
    if any(shares.values()):
        parts.append(importance_figure(shares, study.objective.best.column.replace("_", " ")))
    elif study.domains:
        parts.append(f"Importance needs {LEAST_TRIALS} finished trials whose knobs differ.")
    best = study.best
    if best is None or not study.domains:
        return parts
    slopes = sensitivity(study, best)
    if len(slopes):
        rows = [
            {"knob": row["knob"], "value": numbers.knob(row["value"])}
            | {
                name: f"{numbers.metric(row[name], signed=True)} ± {numbers.metric(row[f'{name}_error'])}"
                for name in row
                if f"{name}_error" in row
            }
            for row in slopes.to_dict("records")
        ]
        parts.append(
            f"Around the best trial: the change per step of {STEP:.0%} of a knob's range, with its standard error"
            " (a linear fit to the trials nearest to it)."
        )
        parts.append(markdown_table(rows))
    commands = [sweep_command(study, best, name, values) for name, values in sweeps(study, best).items()]
    if commands:
        parts.append("To look closer, one knob at a time:\n\n```\n" + "\n".join(commands) + "\n```")
    return parts


def training_curves(study: StudyData) -> list[Part]:
    """A figure for each strategy, with the best trial's own curve."""
    if study.history.empty:
        return []
    own = {study.best.strategy: [study.best.id]} if study.best else {}
    return [
        curves_figure(study, strategy, own.get(strategy, [])).update_layout(height=380)
        for strategy in study.trials["strategy"].unique()
    ]


def suite_recipes(study: StudyData) -> list[Part]:
    """The table of a suite and its figure."""
    table = suite_table(study)
    return [suite_figure(study, table), suite_markdown(study)] if len(table) else []


def strategies(studies: Sequence[StudyData]) -> list[Part]:
    """The recipes of the studies by their Dice gap, and the tests between them."""
    values = entries(studies)
    ranked = ranking(values, studies[0].metrics)
    if ranked.empty:
        return ["No strategy has a feasible trial."]
    metrics = [name for name in ranked if f"{name}_low" in ranked and name != "dice_gap"]
    table = [
        {"rank": row["rank"], "recipe": row["recipe"], "runs": row["runs"]}
        | {name.replace("_", " "): numbers.interval_of(row, name) for name in ("dice_gap", *metrics)}
        for row in ranked.to_dict("records")
    ]
    parts: list[Part] = [
        "By the Dice gap of each strategy's best feasible trial in a study (in a suite: of all trials of a recipe);"
        " means with 95 % intervals over runs and subjects.",
        markdown_table(table),
    ]
    tests = paired_tests(values)
    if len(tests):
        words = {name: tests[name].map(numbers.metric) for name in ("difference", "p", "p_holm", "smallest_p")}
        pairs = len(tests.drop_duplicates(["first", "second"]))
        parts.append(f"Sign-flip tests over the runs that both have. {reach(tests['runs'].max(), pairs)}")
        parts.append(markdown_table(tests.assign(**words)))
    return parts


def deletion_requests(study: StudyData) -> list[Part]:
    """What each deletion request did, as a figure and a table."""
    if study.requests.empty:
        return []
    return [requests_figure(study, requests_frame(study)), requests_markdown(study)]


def evidence(study: StudyData) -> list[Part]:
    """The verdict on each network that was examined and why, the measures behind it, and the picks' subjects."""
    examined = [row for row in (*study.reference_rows, *study.rows) if row.examined]
    if not examined:
        return []
    said = "\n".join(f"- {line}" for line in (*verdict_lines(examined), *study.selection.warnings))
    parts: list[Part] = [said, _evidence_table(study, examined, attacks=False)]
    for id in dict.fromkeys(row.id for row in study.picks.values()):
        rows = place_rows(evidence_details(study, id))
        parts += [f"Each forget subject of trial `{id}` by itself:", markdown_table(rows)] if rows else []
    explained = NOTE if len(parts) > 2 else ""
    return [*parts, f"The columns are defined in docs/evidence.md. {explained}".strip()]


def attacks(study: StudyData) -> list[Part]:
    """The AUCs of attacks that compare the forget subjects with other people, and what they can tell at best."""
    examined = [row for row in (*study.reference_rows, *study.rows) if row.examined]
    if not examined:
        return []
    said = (
        f"{resolution(len(study.split.forget), len(study.selection.report_heldout))} They compare different people:"
        " read them beside the retrained references'."
    )
    return [said, _evidence_table(study, examined, attacks=True)]


def _evidence_table(study: StudyData, examined: Sequence[NetworkRow], attacks: bool) -> str:
    """The columns of attacks over all subjects, or all others, that somebody has."""
    columns = {
        name: column
        for name, column in study.evidence_columns.items()
        if column.title and (column.question == ATTACK) == attacks and any(name in row.evidence for row in examined)
    }
    return markdown_table(
        [
            {"network": row.id}
            | ({} if attacks else {"verdict": verdict(row), "forget Dice": numbers.metric(row.metric("forget_dice"))})
            | {column.title: numbers.evidence(row.evidence, name, column.unit) for name, column in columns.items()}
            for row in examined
        ]
    )


def repeats(study: StudyData) -> list[Part]:
    """What the recipe of each pick gives with further seeds, beside the pick's own."""
    parts: list[Part] = []
    for row in {row.id: row for row in study.picks.values()}.values():
        again, names = study.repeats_of(row.id), [name for name, pick in study.picks.items() if pick.id == row.id]
        if again:
            table = [
                {"": FIGURES[column], "the pick": numbers.metric(value_of(row, column))}
                | {name: numbers.metric(value) for name, value in found._asdict().items()}
                for column, found in varied(again).items()
            ]
            parts.append(
                f"*{' and '.join(names)}* (trial `{row.id}`): {numbers.counted(len(again), 'further seed')},"
                f" verdicts {verdicts(again)}; the pick's own is {verdict(row)}."
            )
            parts.append(markdown_table(table))
    why = "A pick is the best of all candidates, so its own figures are optimistic; those of further seeds are not."
    return [f"{why} {ONE_DRAW}", *parts] if parts else []


def cost(study: StudyData) -> list[Part]:
    """Trials, epochs and seconds by status."""
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
    return [markdown_table(rows)] if rows else []


def reproduction(study: StudyData) -> list[Part]:
    """Commit, versions and settings, and the command that makes the best trial again."""
    versions = ", ".join(f"{name} {number}" for name, number in study.versions.items())
    parts: list[Part] = [f"Commit `{study.commit}`; {versions}; seed {study.settings.seed}."]
    if study.best is not None:
        parts.append(f"The best trial again:\n\n```\n{trial_command(study, study.best)}\n```")
    return [
        *parts,
        markdown_table([{"setting": name, "value": str(value)} for name, value in study.settings.plain().items()]),
    ]
