"""`python -m analysis.compare`: two studies side by side."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from analysis import numbers
from analysis.figures.front import front_figure
from analysis.reports.page import write_page
from analysis.reports.terminal_tables import plain_table, verdict
from analysis.statistics.plane import covered
from study.records.command_lines import command
from study.records.files import studies_folder
from study.records.metrics import shown
from study.records.reading import StudyData, named_study

_NEVER_EQUAL = {"name", "studies", "resume"}


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
        table = plain_table(title, padding=2)
        for header in ("", both[0].name, both[1].name):
            table.add_column(escape(header), overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    if settings.to is not None:
        write_page(settings.to, f"{both[0].name} and {both[1].name}", [front_figure(both[0], beside=[both[1]])])
        console.print(f"fronts          {escape(str(settings.to))}", highlight=False, soft_wrap=True)


def differences(first: StudyData, second: StudyData) -> list[tuple[str, str, str]]:
    """What differs in settings, space, cohort, split, references, versions and commit: name and the two values."""
    rows = _beside(dict(_flat(first)), dict(_flat(second)))
    return [(name, left, right) for name, left, right in rows if left != right]


def outcomes(first: StudyData, second: StudyData) -> list[tuple[str, str, str]]:
    """What came out, with the values of both."""
    return _beside(_outcome(first), _outcome(second))


def _beside(left: Mapping[str, str], right: Mapping[str, str]) -> list[tuple[str, str, str]]:
    return [(name, left.get(name, numbers.MISSING), right.get(name, numbers.MISSING)) for name in {**left, **right}]


def _flat(study: StudyData) -> Iterator[tuple[str, str]]:
    for name, value in study.settings.plain().items():
        if name not in _NEVER_EQUAL:
            yield name.replace("_", " "), str(value)
    for name, domain in study.domains.items():
        yield f"domain of {name}", str(domain["attributes"])
    yield "cohort hash", study.cohort.digest
    for name, subjects in asdict(study.split).items():
        yield f"{name} subjects", " ".join(sorted(subjects))
    for name, reference in study.references.items():
        yield f"{name} hash", reference.digest
    for name, number in study.versions.items():
        yield f"version of {name}", number
    yield "commit", study.commit


def _outcome(study: StudyData) -> dict[str, str]:
    trials, best = study.trials, study.best
    outcome = {
        "trials": f"{len(trials)}, {trials['feasible'].sum()} of them feasible",
        "trial-seconds": f"{trials['seconds'].sum():.0f}",
        "on the front": str(trials["on_front"].sum()),
        "hypervolume": numbers.metric(covered(study)),
    }
    names = [name.replace("_", " ") for name in shown(study.metrics)]
    if best is None:
        return outcome | dict.fromkeys(["best trial", "strategy", "recipe", *names, "evidence"], numbers.MISSING)
    return {
        **outcome,
        "best trial": best.id,
        "strategy": best.strategy,
        "recipe": " ".join(f"{name}={numbers.knob(value)}" for name, value in best.knobs.items()),
        **{name.replace("_", " "): numbers.metric(best.metric(name)) for name in shown(study.metrics)},
        "evidence": verdict(best) if best.examined else numbers.MISSING,
    }


main = command(CompareSettings, compare, "python -m analysis.compare")

if __name__ == "__main__":
    sys.exit(main())
