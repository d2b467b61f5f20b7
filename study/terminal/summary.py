"""What the terminal says before a study, and after."""

import shlex
from collections.abc import Sequence
from functools import partial

from rich.console import Console
from rich.markup import escape

from analysis.numbers import counted, duration
from analysis.reports.shortfalls import remarks
from analysis.reports.tables import terminal_requests, terminal_suite
from analysis.reports.terminal_tables import best_line, evidence_table, front_table, verdict, verdict_lines
from search_spaces.space import Space, Suite
from study.cluster.nodes import Node, Resources
from study.planning.plan import Plan
from study.records.files import in_file_names, studies_folder
from study.records.reading import load_study
from study.records.rows import NetworkRow
from study.records.settings import StudySettings
from study.search.samplers import SAMPLERS
from trainables.cost import CPU, Cost


def print_plan(plan: Plan, console: Console) -> None:
    """What will run."""
    cohort, settings, split = plan.cohort, plan.settings, plan.split
    shape = " x ".join(map(str, cohort.images.shape[1:]))
    spacing = " x ".join(f"{size:.3g}" for size in cohort.spacing_mm)
    objective, feasible = plan.objective, " and ".join(map(str, plan.constraints))
    say = partial(console.print, soft_wrap=True, highlight=False)
    say(
        f"[bold]Study {settings.name}[/bold]: {_what(plan)}, {counted(plan.trials, 'trial')},"
        f" records in {escape(str(settings.folder))}"
    )
    say(
        f"  cohort  {escape(settings.cohort)}: {len(cohort.subjects)} subjects, {len(cohort.images)} scans of"
        f" {shape} voxels ({spacing} mm), {len(cohort.class_names)} classes"
    )
    say(
        f"  split   {len(split.retain)} retain, {len(split.forget)} forget, {len(split.heldout)} held out"
        f"; network Med3D-{settings.depth}"
    )
    say(f"  search  {_how(plan)}{objective.told} where {escape(feasible)}")


def print_resources(resources: Resources, machines: Sequence[Node], console: Console) -> None:
    """Where it runs."""
    cpus, gpus = sum(node.cpus for node in machines), sum(node.gpus for node in machines)
    where = f"{len(machines)} nodes" if len(machines) > 1 else "this machine"
    total = f"{counted(cpus, 'CPU')}, {counted(gpus, 'GPU')}"
    share = counted(resources.cpus, "CPU") + (f" and {counted(resources.gpus, 'GPU')}" if resources.gpus else "")
    console.print(
        f"  runs    on {where} ({total}): {counted(resources.concurrent, 'trial')} at a time, {share} each",
        highlight=False,
        soft_wrap=True,
    )


def print_costs(
    costs: Sequence[Cost], resources: Resources, fits: int, trials: int, seconds: float, console: Console
) -> None:
    """What a trial's step took when it was tried, and the time that follows from it."""
    for cost in costs:
        console.print(
            f"  needs   {cost.memory / 2**30:.1f} of {cost.capacity / 2**30:.1f} GiB a trial ({escape(cost.device)})",
            highlight=False,
        )
    if resources.gpus and any(cost.device == CPU for cost in costs):
        console.print(
            "[yellow]Ray has GPUs, but torch sees none there (a CPU build?): trials run on the CPU[/yellow]"
        )
    work = (f"{counted(fits, 'reference')} and " if fits else "") + counted(trials, "trial")
    console.print(f"  takes   about {duration(seconds)} for {work}", highlight=False)


def _how(plan: Plan) -> str:
    """The sampler, and what else decides which trials run to their end."""
    settings = plan.settings
    if isinstance(plan.space, Suite):
        return ""
    blind = "" if SAMPLERS[settings.sampler].constrained else " (blind to constraints)"
    parts = [settings.sampler + blind]
    if settings.enqueue and plan.space.starts:
        parts.append(f"{len(plan.space.starts)} published first")
    if settings.warm_start:
        parts.append(f"taught by {settings.warm_start}")
    if settings.early_stopping:
        parts.append(f"early stopping after {plan.grace} epochs")
    return ", ".join(parts) + "; "


def print_evidence(plan: Plan, rows: Sequence[NetworkRow], console: Console) -> None:
    """What the evidence says, and how far it can be trusted.

    Args:
        plan: the study.
        rows: its references and trials.
        console: where to print.
    """
    if not any(row.examined for row in rows):
        return
    console.print(evidence_table(rows))
    for line in verdict_lines([row for row in rows if row.id not in plan.selection.report_references]):
        console.print(escape(line), soft_wrap=True, highlight=False)
    for warning in plan.selection.warnings:
        console.print(f"[yellow]{escape(warning)}[/yellow]", soft_wrap=True, highlight=False)


def print_result(plan: Plan, uri: str, problem: str | None, complete: bool, console: Console) -> None:
    """The front, the best trial, and the commands that show and continue the study.

    Args:
        plan: the study.
        uri: of the MLflow store.
        problem: why MLflow could not be written.
        complete: whether no trial is left to run.
        console: where to print.
    """
    settings, written = plan.settings, load_study(plan.settings.folder)
    best, say = written.best, partial(console.print, soft_wrap=True, highlight=False)
    if isinstance(plan.space, Space):
        console.print(front_table(written.rows, list(plan.space.domains), plan.metrics, plan.objective))
    else:
        console.print(terminal_suite(written))
    if len(written.requests):
        console.print(terminal_requests(written))
    for pick, row in written.picks.items():
        say(f"[bold]{pick:13}[/bold]   {best_line(row)}" + (f"  [bold]{verdict(row)}[/bold]" if row.examined else ""))
        for sentence in remarks(written, row):
            say(f"{' ' * 16}{escape(sentence)}")
    if not best:
        say("[bold]no feasible trial[/bold]: give the search more trials")
    name = escape(f"{settings.name}{_studies(settings)}")
    if problem:
        say(
            f"[yellow]MLflow could not be written[/yellow] ({escape(problem)});"
            " the records are complete; send the rest with"
            f" python -m study.sync {name}"
        )
    resume = f"python -m study.run --resume {name}"
    if not isinstance(plan.space, Space):
        table = settings.folder / f"{in_file_names(settings.space)}_table"
        say(f"table           {escape(str(table))}.{{md,csv,html}}")
    say(f"Pareto front    {escape(str(settings.folder / 'pareto.html'))}")
    served = uri.startswith(("http://", "https://"))
    database = f" --tracking-uri {shlex.quote(uri)}" if settings.tracking_uri else ""
    say(f"MLflow, pages   {escape(uri if served else f'python -m analysis.ui{_studies(settings)}{database}')}")
    say(f"report          python -m analysis.report {name}")
    if best:
        say(f"pictures        python -m study.pictures {name}")
    if complete and isinstance(plan.space, Space):
        say(f"more trials     {resume} --trials {settings.trials * 2}")
    elif not complete:
        say(f"[bold yellow]interrupted[/bold yellow]; continue  {resume}")


def _studies(settings: StudySettings) -> str:
    """The option that finds the study's folder again, if it needs one."""
    elsewhere = settings.studies != studies_folder()
    return f" --studies {shlex.quote(str(settings.studies))}" if elsewhere else ""


def _what(plan: Plan) -> str:
    space = plan.space
    if isinstance(space, Space):
        fixed = ", ".join(f"{name}={value}" for name, value in space.fixed.items())
        return space.strategy + (f" with {fixed}" if fixed else "")
    horizons = " and ".join(map(str, space.horizons))
    return f"{len(space.entries)} strategies x {space.seeds} seeds, reported after {horizons} epochs"
