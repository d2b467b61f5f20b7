"""What --explain prints of a search space, or a suite."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from search_spaces.narrowing import GRAMMAR
from search_spaces.space import Space, Suite


def print_space(space: Space | Suite, console: Console) -> None:
    """A search space or suite: every knob, where it is searched, and what is tried first."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    if isinstance(space, Suite):
        for header in ("strategy", "knobs"):
            table.add_column(header, overflow="fold")
        for entry in space.entries:
            table.add_row(entry.strategy, " ".join(f"{name}={value}" for name, value in entry.knobs.items()))
        console.print(table)
        horizons = " and ".join(map(str, space.horizons))
        console.print(f"each with {space.seeds} seeds, reported after {horizons} epochs", highlight=False)
        return
    for header in ("knob", "values", "searched if", "tried first"):
        table.add_column(header, overflow="fold")
    for name, domain in space.domains.items():
        others = space.conditions.get(name, {})
        when = " and ".join(f"{other} in {'|'.join(map(str, values))}" for other, values in others.items())
        first = " ".join(dict.fromkeys(str(knobs.get(name, "-")) for knobs in space.starts))
        table.add_row(name, _told(domain), when, first)
    for name, value in space.fixed.items():
        table.add_row(name, f"held at {value}", "", "")
    count = "" if space.size is None else f", {space.size} configurations"
    console.print(f"strategy [bold]{space.strategy}[/bold]{count}", highlight=False)
    console.print(table)
    console.print(f"change it with --set {escape(GRAMMAR)}", highlight=False, soft_wrap=True)


def _told(domain: BaseDistribution) -> str:
    if isinstance(domain, CategoricalDistribution):
        return "|".join(map(str, domain.choices))
    assert isinstance(domain, FloatDistribution | IntDistribution)
    step = f" in steps of {domain.step:g}" if domain.step not in (None, 1) else ""
    return f"{domain.low:g}..{domain.high:g}{step}{', log' if domain.log else ''}"
