"""What the terminal says before a study, and after."""

import shlex
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from analysis.console import best_line, evidence_table, front_table
from analysis.evidence import warnings
from analysis.front import best_feasible
from analysis.sequence import terminal_sequence
from analysis.suite import terminal_table
from analysis.tables import load_study
from search_spaces.space import Space
from study.plan import Plan
from study.records import OBJECTIVES
from study.selection import selection


def print_plan(plan: Plan, console: Console) -> None:
    """What will run."""
    cohort, settings, split = plan.cohort, plan.settings, plan.split
    shape = " x ".join(map(str, cohort.images.shape[1:]))
    spacing = " x ".join(f"{size:.3g}" for size in cohort.spacing_mm)
    objective = OBJECTIVES[settings.objective]
    say = partial(console.print, soft_wrap=True, highlight=False)
    say(
        f"[bold]Study {settings.name}[/bold]: {_what(plan)}, {plan.trials} trials,"
        f" records in {escape(str(settings.folder))}"
    )
    say(
        f"  cohort  {escape(settings.cohort)}: {len(cohort.subjects)} subjects, {len(cohort.images)} scans of"
        f" {shape} voxels ({spacing} mm), {len(cohort.class_names)} classes"
    )
    say(
        f"  split   {len(split.retain)} retain, {len(split.forget)} forget, {len(split.heldout)} held out"
        f"; network Med3D-{settings.depth}; {objective.told} where retention >= {settings.retain_floor:g}"
    )


def print_evidence(plan: Plan, rows: list[dict[str, Any]], console: Console) -> None:
    """What the evidence says, and how far it can be trusted.

    Args:
        plan: the study.
        rows: its references and trials.
        console: where to print.
    """
    if not any(row["evidence"] for row in rows):
        return
    console.print(evidence_table(rows))
    chosen, settings = selection(plan), plan.settings
    weak = warnings(
        len(plan.split.forget), len(chosen.report_heldout), len(chosen.report_references), settings.forget_draws
    )
    for warning in (*chosen.warnings, *weak):
        console.print(f"[yellow]{escape(warning)}[/yellow]", soft_wrap=True, highlight=False)


def print_result(
    plan: Plan, rows: list[dict[str, Any]], uri: str, problem: str | None, complete: bool, console: Console
) -> None:
    """The front, the best trial, and the commands that show and continue the study.

    Args:
        plan: the study.
        rows: its trial table.
        uri: of the MLflow store.
        problem: why MLflow could not be written.
        complete: whether no trial is left to run.
        console: where to print.
    """
    settings, objective = plan.settings, OBJECTIVES[plan.settings.objective]
    best = best_feasible(rows, objective)
    say = partial(console.print, soft_wrap=True, highlight=False)
    written = load_study(settings.folder)
    if isinstance(plan.space, Space):
        console.print(front_table(rows, list(plan.space.domains), objective))
    else:
        console.print(terminal_table(written))
    if len(written.sequence):
        console.print(terminal_sequence(written))
    if best:
        say(f"[bold]best feasible[/bold]   {best_line(best)}")
    else:
        say("[bold]no feasible trial[/bold]: give the search more trials")
    if problem:
        say(
            f"[yellow]MLflow could not be written[/yellow] ({escape(problem)});"
            " the records are complete, a resume logs them"
        )
    resume = f"python -m study.run --resume {settings.name}"
    if settings.studies != Path("studies"):
        resume += escape(f" --studies {shlex.quote(str(settings.studies))}")
    if not isinstance(plan.space, Space):
        say(f"table           {escape(str(settings.folder / f'{settings.space}_table'))}.{{md,csv,html}}")
    say(f"Pareto front    {escape(str(settings.folder / 'pareto.html'))}")
    served = uri.startswith(("http://", "https://"))
    say(f"MLflow          {escape(uri if served else f'mlflow ui --backend-store-uri {shlex.quote(uri)}')}")
    if complete and isinstance(plan.space, Space):
        say(f"more trials     {resume} --trials {settings.trials * 2}")
    elif not complete:
        say(f"[bold yellow]interrupted[/bold yellow]; continue  {resume}")


def _what(plan: Plan) -> str:
    space = plan.space
    if isinstance(space, Space):
        fixed = ", ".join(f"{name}={value}" for name, value in space.fixed.items())
        return space.strategy + (f" with {fixed}" if fixed else "")
    horizons = " and ".join(map(str, space.horizons))
    return f"{len(space.entries)} strategies x {space.seeds} seeds, reported after {horizons} epochs"
