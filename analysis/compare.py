"""`python -m analysis.compare`: two studies side by side."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis.figures.front import front_figure
from analysis.reports.comparison import differences, outcomes
from analysis.reports.page import write_page
from study.records.command_lines import command
from study.records.files import studies_folder
from study.records.reading import named_study


@dataclass(frozen=True)
class CompareSettings:
    """Show two studies side by side: what differs in their settings, and what came out.

    For example:
      python -m analysis.compare noisy_label-phantom-9f6626 salun-phantom-1a2b3c --to both.html
    """

    first: Annotated[str, tyro.conf.Positional]
    """Name of a study."""
    second: Annotated[str, tyro.conf.Positional]
    """Name of another."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies."""
    to: Path | None = None
    """HTML file to write with both fronts in one figure."""


def compare(settings: CompareSettings) -> None:
    """Compare two studies.

    Raises:
        StudyError: there is no such study.
    """
    console = Console()
    both = named_study(settings.studies, settings.first), named_study(settings.studies, settings.second)
    for title, rows in (("What differs", differences(*both)), ("What came out", outcomes(*both))):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
        for header in ("", both[0].name, both[1].name):
            table.add_column(escape(header), overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    if settings.to is not None:
        write_page(settings.to, f"{both[0].name} and {both[1].name}", [front_figure(both[0], beside=[both[1]])])
        console.print(f"fronts          {escape(str(settings.to))}", highlight=False, soft_wrap=True)


main = command(CompareSettings, compare, "python -m analysis.compare")

if __name__ == "__main__":
    sys.exit(main())
