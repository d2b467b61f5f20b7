"""`python -m study.status`: how far a study is, from another terminal."""

import contextlib
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis import numbers
from analysis.reports.terminal_tables import best_line, front_table
from study.recording.ownership import owner
from study.records.command_lines import command, config_of
from study.records.failure import StudyError
from study.records.files import studies_folder
from study.records.reading import StudyData, load_study, named_folder, named_study
from study.records.study_record import FILE, recorded_settings
from study.records.trials import FINISHED, RUNNING

_PAUSE = 2.0


@dataclass(frozen=True)
class StatusSettings:
    """Show how far a study is: its trials, the running ones' newest epoch, the best one and the front.

    For example:
      python -m study.status
      python -m study.status noisy_label-phantom-9f6626 --watch
    """

    study: Annotated[str, tyro.conf.Positional] = ""
    """Name of the study; by default all studies are listed."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies."""
    config: bool = False
    """Print the options that the study was run with, as a file for study.run --config."""
    watch: Annotated[bool, tyro.conf.arg(aliases=["-w"])] = False
    """Show it again every two seconds, until Ctrl-C."""


def show(settings: StatusSettings) -> None:
    """Show one study, or list all.

    Raises:
        StudyError: there is no such study, or its records are damaged.
    """
    if settings.config:
        if not settings.study:
            raise StudyError("--config: name a study")
        sys.stdout.write(config_of(recorded_settings(named_folder(settings.studies, settings.study))))
    elif not settings.watch:
        Console().print(_shown(settings))
    else:
        with contextlib.suppress(KeyboardInterrupt), Live(_shown(settings), auto_refresh=False) as live:
            while True:
                time.sleep(_PAUSE)
                live.update(_shown(settings), refresh=True)


def _shown(settings: StatusSettings) -> RenderableType:
    if not settings.study:
        return _list(settings.studies)
    folder = settings.studies / settings.study
    who = owner(folder)
    if who and not (folder / FILE).is_file():
        return Text(f"{settings.study}: the references are being fitted by {who}")
    return _status(named_study(settings.studies, settings.study), who)


def _list(studies: Path) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    for header in ("study", "state", "trials", "on the front", "best gap"):
        table.add_column(header, justify="left" if header in ("study", "state") else "right", overflow="fold")
    for mine in sorted(studies.glob("*/.owner"), key=lambda path: path.stat().st_mtime, reverse=True):
        folder, who = mine.parent, owner(mine.parent)
        try:
            study = load_study(folder)
        except StudyError as error:
            state = "fitting references" if who else "interrupted while fitting references"
            if (folder / FILE).exists():
                state = f"[red]{escape(str(error))}[/red]"
            table.add_row(escape(folder.name), state, "", "", "")
            continue
        best = study.trials.loc[study.trials["feasible"], "dice_gap"].max()
        ended = int((study.trials["status"] != RUNNING).sum())
        front = str(study.trials["on_front"].sum())
        row = (_state(study, who), f"{ended}/{study.planned}", front, numbers.metric(best, signed=True))
        table.add_row(escape(folder.name), *row)
    return table if table.row_count else Text(f"no study in {studies}")


def _status(study: StudyData, who: str | None) -> RenderableType:
    trials, count, best = study.trials, study.planned, study.best
    ended = trials[trials["status"] != RUNNING]
    statuses = ", ".join(f"{number} {status}" for status, number in trials["status"].value_counts().items())
    lines: list[RenderableType] = [
        Text.from_markup(
            f"[bold]{escape(study.name)}[/bold]  {_state(study, who)}" + (f" by {escape(who)}" if who else "")
        ),
        Text(f"{study.objective.told} where {' and '.join(map(str, study.constraints))}"),
        _bar(len(ended), count, f"{len(ended)} of {count} trials" + (f" ({statuses})" if len(trials) else "")),
    ]
    left = _seconds_left(study) if who else math.nan
    if math.isfinite(left) and len(ended) < count:
        lines.append(Text(f"about {numbers.duration(left)} left for the trials"))
    lines += [_bar(row["epoch"], row["epochs"], _latest(row)) for row in running(study)]
    lines.append(Text(f"best feasible  {best_line(best)}" if best else "no feasible trial yet", style="bold green"))
    if trials["on_front"].any():
        lines += [Text(), front_table(study.rows, list(study.knobs), study.metrics, study.objective)]
    return Group(*lines)


def running(study: StudyData) -> list[dict[str, Any]]:
    """The newest epoch of every running trial: the history's columns, and `epochs`, which it has in all."""
    trials = study.trials[study.trials["status"] == RUNNING]
    history = study.history[study.history["id"].isin(trials["id"])]
    newest = history[history["epoch"] == history.groupby("id")["epoch"].transform("max")]
    rows: list[dict[str, Any]] = trials[["id", "epochs"]].merge(newest, on="id").to_dict("records")
    return rows


def _seconds_left(study: StudyData) -> float:
    """As long as the median trial takes, for each that is to come, shared among as many as are running."""
    trials = study.trials
    count = int((trials["status"] == RUNNING).sum())
    each = trials.loc[trials["status"] == FINISHED, "seconds"].median()
    remaining = study.planned - int((trials["status"] != RUNNING).sum())
    return float(each * remaining / max(count, 1))


def _state(study: StudyData, who: str | None) -> str:
    complete = int((study.trials["status"] != RUNNING).sum()) >= study.planned
    if who:
        return "[yellow]finishing (evidence, pages)[/yellow]" if complete else "[yellow]running[/yellow]"
    return "[green]complete[/green]" if complete else "[red]interrupted[/red] (--resume continues it)"


def _bar(done: int, total: int, text: str) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=max(total, 1), completed=done, width=24), Text(text))
    return row


def _latest(row: dict[str, Any]) -> str:
    metrics = "".join(f"  {name} {numbers.metric(row[f'{name}_dice'])}" for name in ("retain", "forget"))
    return f"{row['id']}  epoch {row['epoch']}/{row['epochs']}{metrics}  {row['seconds']:.1f} s/epoch"


main = command(StatusSettings, show, "python -m study.status")

if __name__ == "__main__":
    sys.exit(main())
