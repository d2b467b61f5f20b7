"""What studies came to, as one HTML page and as Markdown."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from markdown_it import MarkdownIt

from analysis import numbers
from analysis.figures.attainment import attainment_figure
from analysis.reports import sections
from analysis.reports.page import markdown_table, plain, write_page
from analysis.reports.sections import Part
from analysis.statistics.attainment import feasible_points
from analysis.statistics.hypervolume import hypervolume
from study.records.files import replace_file
from study.records.front import best_feasible
from study.records.metrics import shown
from study.records.reading import StudyData


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
        parts += _comparison(studies)
    for study in studies:
        if len(studies) > 1:
            parts.append(f"# {plain(study.name)}")
        parts += _sections(study)
    return parts


def _title(studies: Sequence[StudyData]) -> str:
    return f"Unlearning study {studies[0].name}" if len(studies) == 1 else f"{len(studies)} unlearning studies"


def _sections(study: StudyData) -> list[Part]:
    """The sections of one study; those with nothing to say are left out."""
    rows = study.trials.to_dict("records")
    best = best_feasible(rows, study.objective)
    several = not study.suite and study.trials["strategy"].nunique() > 1
    content = {
        "Question and answer": sections.question_and_answer(study, best),
        "Cohort and split": sections.cohort_and_split(study),
        "References": sections.references(study),
        "Front": sections.front(study, rows, best),
        "What decides it": sections.what_decides(study, best),
        "Training curves": sections.training_curves(study, best),
        "Recipes": sections.suite_recipes(study) if study.suite else [],
        "Strategies": sections.strategies([study]) if several else [],
        "Deletion requests": sections.deletion_requests(study),
        "Evidence": sections.evidence(study, rows),
        "Cost": sections.cost(study),
        "How to reproduce it": sections.reproduction(study, best),
    }
    return [part for title, parts in content.items() if parts for part in (f"## {title}", *parts)]


def _comparison(studies: Sequence[StudyData]) -> list[Part]:
    """Several studies' best trials in one table, their attainment if they repeat one search, and their strategies."""
    rows, columns = [], dict.fromkeys(name for study in studies for name in shown(study.metrics))
    for study in studies:
        best = best_feasible(study.trials.to_dict("records"), study.objective) or {}
        metrics = {name: numbers.metric(best.get(name)) for name in columns}
        points = feasible_points(study)
        volume = numbers.metric(hypervolume(points[:, 1], points[:, 0]))
        rows.append({"study": study.name, "trials": len(study.trials), **metrics, "hypervolume": volume})
    parts: list[Part] = ["## The studies and their best feasible trials", markdown_table(pd.DataFrame(rows))]
    if len({(study.space, study.record["cohort"]["digest"]) for study in studies}) == 1:
        parts += ["## Attainment", attainment_figure(studies)]
        parts.append("The search was repeated: in how many studies it reaches which retain Dice at a forget Dice.")
    return [*parts, "## Strategies", *sections.strategies(studies)]
