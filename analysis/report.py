"""`python -m analysis.report`: what studies came to, as one HTML page and as Markdown."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from analysis.reports.study_report import write_report
from study.records.command_lines import command
from study.records.failure import StudyError
from study.records.files import studies_folder
from study.records.reading import named_study


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


main = command(ReportSettings, report, "python -m analysis.report")

if __name__ == "__main__":
    sys.exit(main())
