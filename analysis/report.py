"""`python -m analysis.report`: what studies came to, as one HTML page and as Markdown."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from markdown_it import MarkdownIt
from rich.console import Console
from rich.markup import escape

from analysis import numbers
from analysis.figures.charts import attainment_figure
from analysis.reports import sections
from analysis.reports.page import markdown_table, plain, write_page
from analysis.reports.sections import Part
from analysis.statistics.plane import covered
from study.records.command_lines import command
from study.records.failure import StudyError
from study.records.files import replace_file, studies_folder
from study.records.metrics import shown
from study.records.reading import StudyData, named_study


@dataclass(frozen=True)
class ReportSettings:
    """Write what studies came to as report.html, which needs nothing else, and report.md.

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


def report(settings: ReportSettings) -> None:
    """Write one report.

    Raises:
        StudyError: there is no such study.
    """
    studies = [named_study(settings.studies, name) for name in dict.fromkeys(settings.study)]
    if not studies:
        raise StudyError(f"name a study of {settings.studies}")
    folder = settings.to or settings.studies / studies[0].name
    folder.mkdir(parents=True, exist_ok=True)
    write_report(studies, folder)
    Console().print(f"report          {escape(str(folder / 'report'))}.{{html,md}}", highlight=False, soft_wrap=True)


def write_report(studies: Sequence[StudyData], folder: Path) -> None:
    """Write report.html and report.md, each in one step."""
    parts = report_parts(studies)
    text = "\n\n".join(part for part in parts if isinstance(part, str)) + "\n"
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    html = [renderer.render(part) if isinstance(part, str) else part for part in parts]
    write_page(folder / "report.html", _title(studies), html)
    replace_file(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8"))


def report_parts(studies: Sequence[StudyData]) -> list[Part]:
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
    several = not study.suite.entries and study.trials["strategy"].nunique() > 1
    content = {
        "Question and answer": sections.question_and_answer(study),
        "Cohort and split": sections.cohort_and_split(study),
        "References": sections.references(study),
        "Front": sections.front(study),
        "What decides it": sections.what_decides(study),
        "Training curves": sections.training_curves(study),
        "Recipes": sections.suite_recipes(study),
        "Strategies": sections.strategies([study]) if several else [],
        "Deletion requests": sections.deletion_requests(study),
        "Evidence": sections.evidence(study),
        "The recipe over further seeds": sections.repeats(study),
        "Cost": sections.cost(study),
        "How to reproduce it": sections.reproduction(study),
        "Appendix: attacks over all subjects": sections.attacks(study),
    }
    return [part for title, parts in content.items() if parts for part in (f"## {title}", *parts)]


def _comparison(studies: Sequence[StudyData]) -> list[Part]:
    """Several studies' best trials in one table, their attainment if they repeat one search, and their strategies."""
    rows, columns = [], dict.fromkeys(name for study in studies for name in shown(study.metrics))
    for study in studies:
        best = study.best
        metrics = {name: numbers.metric(best.metric(name) if best else None) for name in columns}
        volume = numbers.metric(covered(study))
        rows.append({"study": study.name, "trials": len(study.trials), **metrics, "hypervolume": volume})
    parts: list[Part] = ["## The studies and their best feasible trials", markdown_table(rows)]
    if len({(study.space, study.cohort.digest) for study in studies}) == 1:
        parts += ["## Attainment", attainment_figure(studies)]
        parts.append("The search was repeated: in how many studies it reaches which retain Dice at a forget Dice.")
    return [*parts, "## Strategies", *sections.strategies(studies)]


main = command(ReportSettings, report, "python -m analysis.report")

if __name__ == "__main__":
    sys.exit(main())
