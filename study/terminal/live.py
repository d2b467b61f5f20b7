"""The terminal during a study: what runs, the best so far, and the time left."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


class StudyView:
    """A live display in a terminal; one plain line per finished piece of work elsewhere."""

    def __init__(self, console: Console):
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
        )
        self._running: dict[str, str] = {}
        self._note = ""
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "StudyView":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, name: str, total: int, done: int = 0) -> Callable[[int], None]:
        """Add a bar and return the function that moves it to a number."""
        task = self._progress.add_task(name, total=total, completed=done)
        return lambda completed: self._progress.update(task, completed=completed)

    def running(self, trial: str, result: Mapping[str, Any], epochs: int) -> None:
        """Show a running trial's latest epoch."""
        self._running[trial] = (
            f"  {trial}  epoch {result['epoch']:3d}/{epochs}  retain {result['retain_dice']:.3f}"
            f"  forget {result['forget_dice']:.3f}  gap {result['dice_gap']:+.3f}  {result['seconds']:.1f} s/epoch"
        )

    def ended(self, trial: str, line: str, note: str) -> None:
        """Drop a trial from the running ones; `note` is the line on the best trial so far."""
        self._running.pop(trial, None)
        self._note = note
        self.line(line)

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {text}", highlight=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        trials = [Text(line) for line in self._running.values()]
        return Group(self._progress, *trials, Text(self._note, style="bold green"))
