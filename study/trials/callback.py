"""Tune's callbacks: what happens to trials goes to the records, the search and the view."""

import errno
import os
from pathlib import Path
from typing import Any

from ray.exceptions import OutOfMemoryError
from ray.tune import Callback, Checkpoint, Stopper
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT
from rich.markup import escape

from analysis.reports.terminal_tables import best_line
from search_spaces.space import Suite
from study.cluster.ray_internals import LOST, OUT_OF_MEMORY, actor_of, killed_actors
from study.cluster.storage import Storage
from study.cluster.utilisation import Utilisation
from study.networks.session import Session
from study.recording.recorder import Recorder
from study.records.front import kept
from study.records.rows import TrialRow
from study.records.trials import FAILED, FINISHED, PRUNED
from study.search.searcher import StudySearch
from study.search.stopping import Halving
from study.search.suite import SuiteSearch
from study.trials.kept_weights import ONE_BY_ONE, drop_weights, keep_weights

MOST_RETRIES = 2
"""Retries of a trial without an epoch in between. One that gets further may be stopped by any number of nodes."""


class Events(Callback):
    """Tune's events, passed on to the records first, then to the files of weights, the search and the view.

    Attributes:
        stopping: trials save their state and end with their present epoch.
        full_disk: a trial, its row or its weights could not be written.
        crowded: ids of trials that ran out of memory and go on one scan at a time.
        utilisation: when and where trials ran.
    """

    def __init__(
        self,
        session: Session,
        recorder: Recorder,
        storage: Storage,
        search: StudySearch | SuiteSearch,
        halving: Halving | None,
        crowded: set[str],
    ):
        self.stopping, self.full_disk, self.crowded = False, False, crowded
        self._plan, self._recorder, self._view, self._storage = session.plan, recorder, session.view, storage
        self.search, self.halving = search, halving
        self.utilisation = Utilisation()
        self._actors: dict[str, dict[str, Any]] = {}
        self._reached: dict[str, int] = {}
        self._advance = session.view.begin("trials", session.plan.trials, recorder.ended_trials)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that studies do not use."""
        return {}

    def interrupt(self) -> None:
        """Let every trial save its state after the epoch that it is in, and start no others."""
        self._view.line("[yellow]stopping: trials finish their epoch and are saved; once more stops at once[/yellow]")
        self._stop()

    def _stop(self) -> None:
        self.stopping = True
        self.search.close()

    def _stop_for_space(self) -> None:
        self.full_disk = True
        self._stop()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial begins, or continues."""
        self._actors[actor_of(trial)] = trial.config
        self._recorder.started(trial.config)
        self.utilisation.begin(trial.config["id"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch: recorded before anything else."""
        name = trial.config["id"]
        self._recorder.epoch(name, result)
        self.utilisation.on(name, result["node_ip"])
        self._view.running(name, result, trial.config["knobs"]["epochs"])
        if result["epoch"] > self._reached.get(name, 0):
            self._reached[name] = result["epoch"]
            trial.max_failures = trial.num_failures + MOST_RETRIES
        if self.stopping:
            result[SHOULD_CHECKPOINT] = True

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Checkpoint, **info: Any
    ) -> None:
        """A trial has been saved: its older checkpoints go.

        With its final weights no trial can be continued: until its row says that it has ended, its last state stays.
        """
        if not trial.last_result.get("finished"):
            self._storage.keep_only(checkpoint.path)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has finished, is pruned or, when the study is stopping, waits for a resume."""
        name, result = trial.config["id"], trial.last_result
        self.utilisation.end(name)
        if result.get("finished"):
            self._end(name, FINISHED, result["diverged"])
        elif self.halving is not None and name in self.halving.stopped:
            self._end(name, PRUNED, diverged=False)
        # else it was interrupted: it stays `running` and a resume continues it

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has failed and is tried again from its newest checkpoint."""
        name, reason = trial.config["id"], _reason(trial)
        self.utilisation.end(name)
        if OUT_OF_MEMORY.search(_last_error(trial)) and not trial.config["one_by_one"]:
            trial.config["one_by_one"] = True
            trial.max_failures = trial.num_failures  # this was its last retry
            self._relieve(name)
        else:
            self._view.line(f"{name}  [yellow]tried again after: {escape(reason)}[/yellow]")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has failed for good, unless the disk is full."""
        name, reason = trial.config["id"], _reason(trial)
        self.utilisation.end(name)
        if no_space(_last_error(trial)):
            self._stop_for_space()
            return  # it stays `running`
        self._recorder.started(trial.config)  # it may never have come that far
        self._end(name, FAILED, diverged=False, problem=reason)
        self._view.line(f"{' ' * 14}[red]{escape(reason)}[/red] ({escape(str(trial.error_file))})")

    def on_host_memory(self, error: OutOfMemoryError) -> None:
        """Ray has killed trials because their node ran low on memory; Tune does not know this error and gives up.

        Raises:
            OutOfMemoryError: what was killed was no trial of this study.
        """
        killed = [self._actors[actor] for actor in killed_actors(error) if actor in self._actors]
        if not killed:
            raise error
        for config in killed:
            if config["one_by_one"]:
                self._end(config["id"], FAILED, diverged=False, problem="out of memory, also one scan at a time")
            else:
                self._relieve(config["id"])

    def _relieve(self, name: str) -> None:
        self.crowded.add(name)
        self._view.line(f"{name}  [yellow]out of memory: tried again, now one scan at a time[/yellow]")

    def _end(self, name: str, status: str, diverged: bool, problem: str | None = None) -> None:
        if problem is None and name in self.crowded:
            problem = ONE_BY_ONE
        try:
            row = self._recorder.ended(name, status, diverged, problem)
        except OSError as error:
            if not no_space(str(error)):
                raise
            self._stop_for_space()
            return  # it stays `running`
        self._tidy(row)
        self.search.ended(row)
        best = self._recorder.best
        shown = f"{name}  {row.strategy:19}" if isinstance(self._plan.space, Suite) else name
        self._view.ended(
            name, _line(row, shown), f"best feasible: {best_line(best)}" if best else "no feasible trial yet"
        )
        self._advance(self._recorder.ended_trials)

    def _tidy(self, row: TrialRow) -> None:
        """Keep the weights of a trial on the front, and remove checkpoints and weights that nobody needs.

        Its row is written. An error here must not reach Tune, which would take it for the trial's and try that again.
        """
        folder = self._plan.settings.folder
        try:
            ids = kept(self._recorder.rows, self._plan.objective)
            keep_weights([row], ids, folder, self._storage)
            drop_weights(ids, folder)
            self._storage.forget(row.id)
        except OSError as error:
            if no_space(str(error)):
                self._stop_for_space()
            else:
                problem = f"its checkpoint is left until the next session: {escape(str(error))}"
                self._view.line(f"{row.id}  [yellow]{problem}[/yellow]")


class Stop(Stopper):
    """Ends trials once the study is stopping."""

    def __init__(self, events: Events):
        self._events = events

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether to end a trial after this epoch."""
        return self._events.stopping and not result["finished"]

    def stop_all(self) -> bool:
        """Never by force: trials are saved first."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, like the events."""
        return {}


def no_space(error: str) -> bool:
    """Whether an error's text tells of a disk that takes no more."""
    return any(os.strerror(number) in error for number in (errno.ENOSPC, errno.EDQUOT))


def _line(row: TrialRow, name: str) -> str:
    if row.status == FAILED:
        return f"{name}  failed"
    outcome = "diverged" if row.diverged else "feasible" if row.feasible else "infeasible"
    if row.status == PRUNED:
        outcome = "pruned"
    return (
        f"{name}  {outcome:10}  retain {row.metric('retain_dice'):.3f}  forget {row.metric('forget_dice'):.3f}"
        f"  gap {row.metric('dice_gap'):+.3f}  {row.epochs_done} epochs, {row.seconds:.0f} s"
    )


def _last_error(trial: Trial) -> str:
    """What a trial's log has of its newest failure."""
    return Path(trial.error_file).read_text(encoding="utf-8").rpartition("Failure # ")[2]


def _reason(trial: Trial) -> str:
    """Out of memory, a loss, or the last line of a failed trial's log."""
    error = _last_error(trial)
    if OUT_OF_MEMORY.search(error):
        return "out of memory" + (", also one scan at a time" if trial.config["one_by_one"] else "")
    if LOST.search(error):
        node = trial.last_result.get("node_ip")  # of an earlier try, if this one has not reported yet
        return "the loss of its process or node" + (f" (last report from {node})" if node else "")
    return error.strip().rpartition("\n")[2]
