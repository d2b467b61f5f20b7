"""`python -m analysis.compare`: two studies side by side."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import numbers
from analysis.attainment import feasible_points
from analysis.console import verdict
from analysis.figures import overlay_figure
from analysis.hypervolume import hypervolume
from analysis.page import write_page
from study.records.failure import StudyError, fail
from study.records.files import studies_folder
from study.records.front import best_feasible
from study.records.reading import StudyData, named_study
from study.records.trials import given

_METRICS = ("dice_gap", "retain_dice", "forget_dice", "heldout_dice", "retention", "retrain_gap")
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


def main(arguments: list[str] | None = None) -> int:
    """Compare two studies; returns the exit code."""
    settings = tyro.cli(CompareSettings, prog="python -m analysis.compare", args=arguments)
    console = Console()
    try:
        both = named_study(settings.studies, settings.first), named_study(settings.studies, settings.second)
    except StudyError as error:
        return fail(*error.problems, code=error.code)
    for title, rows in (("What differs", differences(*both)), ("What came out", outcomes(*both))):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
        for header in ("", both[0].name, both[1].name):
            table.add_column(escape(header), overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    if settings.to is not None:
        write_page(settings.to, f"{both[0].name} and {both[1].name}", [overlay_figure(both)])
        console.print(f"fronts          {escape(str(settings.to))}", highlight=False, soft_wrap=True)
    return 0


def differences(first: StudyData, second: StudyData) -> list[tuple[str, str, str]]:
    """What differs in settings, space, cohort, split, references, versions and commit: name and the two values."""
    flat = dict(_flat(first.record)), dict(_flat(second.record))
    names = dict.fromkeys([*flat[0], *flat[1]])
    told = [(name, flat[0].get(name, numbers.MISSING), flat[1].get(name, numbers.MISSING)) for name in names]
    return [(name, mine, other) for name, mine, other in told if mine != other]


def outcomes(first: StudyData, second: StudyData) -> list[tuple[str, str, str]]:
    """What came out, with the values of both."""
    mine, other = _outcome(first), _outcome(second)
    return [(name, mine[name], other[name]) for name in mine]


def _flat(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in record["settings"].items():
        if name not in _NEVER_EQUAL:
            yield name.replace("_", " "), str(value)
    for name, domain in record["domains"].items():
        yield f"domain of {name}", str(domain["attributes"])
    yield "cohort hash", record["cohort"]["digest"]
    for name in ("retain", "forget", "heldout", "steering"):
        yield f"{name} subjects", " ".join(sorted(record["split"][name]))
    for name, reference in record["references"].items():
        yield f"{name} hash", reference["digest"]
    for name, number in record["versions"].items():
        yield f"version of {name}", number
    yield "commit", record["commit"]


def _outcome(study: StudyData) -> dict[str, str]:
    trials, points = study.trials, feasible_points(study)
    best = best_feasible(trials.to_dict("records"), study.objective)
    return {
        "trials": f"{len(trials)}, {trials['feasible'].sum()} of them feasible",
        "trial-seconds": f"{trials['seconds'].sum():.0f}",
        "on the front": str(trials["on_front"].sum()),
        "hypervolume": numbers.metric(hypervolume(points[:, 1], points[:, 0])),
        "best trial": best["id"] if best else numbers.MISSING,
        "strategy": best["strategy"] if best else numbers.MISSING,
        "recipe": _recipe(study, best) if best else numbers.MISSING,
        **{name.replace("_", " "): numbers.metric(best[name] if best else None) for name in _METRICS},
        "evidence": verdict(best) if best and given(best["evidence"]) else numbers.MISSING,
    }


def _recipe(study: StudyData, row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={numbers.knob(row[name])}" for name in study.knobs if given(row[name]))


if __name__ == "__main__":
    sys.exit(main())
