"""Studies from Python: run one in a script or a notebook, or open one that is there.

from study.api import StudySettings, run

result = run(StudySettings(space="noisy_label", cohort="bids:scans", forget_count=3))
result.front[["lr", "retain_dice", "forget_dice"]]
result.best["id"]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from analysis.statistics.plane import knee
from study.records.failure import StudyError
from study.records.files import studies_folder
from study.records.reading import StudyData, named_study
from study.records.settings import StudySettings
from study.records.study_record import recorded_settings
from study.records.trials import RUNNING
from study.terminal.interrupts import Interrupts
from study.terminal.quiet import quiet

__all__ = ["StudyError", "StudyResult", "StudySettings", "open_study", "run"]


@dataclass(frozen=True)
class StudyResult:
    """A study as its records have it.

    Attributes:
        folder: of its records.
        records: all that they tell: what study.json holds, and the tables `trials`, `history`, `subjects`,
            `requests`, `repeats` and `evidence` as data frames.
    """

    folder: Path
    records: StudyData

    @property
    def settings(self) -> StudySettings:
        """With which it was run, subjects named by pseudonym; `replace` some, and `run` continues it."""
        return recorded_settings(self.folder)

    @property
    def complete(self) -> bool:
        """Whether all of its trials have ended."""
        return int((self.trials["status"] != RUNNING).sum()) >= self.records.planned

    @property
    def trials(self) -> pd.DataFrame:
        """A row per trial: its knobs, metrics, `feasible`, `on_front` and, where there is any, evidence."""
        return self.records.trials

    @property
    def references(self) -> pd.DataFrame:
        """A row per reference, a column per metric."""
        return pd.DataFrame.from_dict(
            {name: known.metrics for name, known in self.records.references.items()}, orient="index"
        )

    @property
    def front(self) -> pd.DataFrame:
        """The trials that no other beats, from the least retain Dice to the largest."""
        return self.trials[self.trials["on_front"]].sort_values("retain_dice")

    @property
    def best(self) -> dict[str, Any] | None:
        """The row of the best feasible trial; None if no trial is feasible."""
        best, trials = self.records.best, self.trials
        return None if best is None else dict(trials[trials["id"] == best.id].to_dict("records")[0])

    @property
    def knee(self) -> dict[str, Any] | None:
        """The row of the front's knee, where giving up a little of one goal gains little more of the other."""
        front = self.front
        goals = self.records.objective.front[:2]
        place = knee(front[[goal.column for goal in goals]].to_numpy(float) * [goal.sign for goal in goals])
        return None if place is None else dict(front.iloc[place])


def run(settings: StudySettings, console: Console | None = None) -> StudyResult:
    """Run a study, or continue the one that these settings name; what a study.run with the same options does.

    A Ray that runs in this process is used and left running; without one, the study has its own while it runs.
    Ctrl-C (in a notebook: interrupt the kernel) lets trials save their state and returns what there is.

    Args:
        settings: of the study; `resume`, `explain` and a ray:// address are for the command line.
        console: where to print; by default plain lines to standard output.

    Raises:
        StudyError: whatever keeps the study from running, with all `problems`.
    """
    for name, used in {
        "resume": settings.resume,
        "explain": settings.explain,
        "address": str(settings.address).startswith("ray://"),
    }.items():
        if used:
            raise StudyError(f"{name} is for the command line")
    quiet(settings.verbose)
    from study.planning.plan import make_plan
    from study.session import run_study

    plan = make_plan(settings)
    with Interrupts() as interrupts:
        run_study(plan, console or Console(force_jupyter=False), interrupts)
    return open_study(plan.settings.name, plan.settings.studies)


def open_study(name: str, studies: Path | str | None = None) -> StudyResult:
    """A study that is there; one that still runs is as far as it is.

    Args:
        name: of the study.
        studies: the folder that holds it; by default that of the commands.

    Raises:
        StudyError: there is none, with those that are there; or its records are damaged.
    """
    folder = studies_folder() if studies is None else Path(studies)
    return StudyResult(folder / name, named_study(folder, name))
