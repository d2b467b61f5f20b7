"""What happens to trials, as Tune tells it, passed on to the records, the search and the view."""

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

from ray.exceptions import OutOfMemoryError
from ray.tune import Callback, Checkpoint, Stopper
from ray.tune.experiment import Trial
from ray.tune.result import SHOULD_CHECKPOINT
from rich.markup import escape

from analysis.reports.terminal_tables import best_line
from search_spaces.space import Suite
from study.cluster.storage import Storage
from study.cluster.utilisation import Utilisation
from study.planning.plan import Plan
from study.recording.recorder import Recorder
from study.records.files import write_json
from study.records.trials import FAILED, FINISHED, PRUNED
from study.search.searcher import StudySearch
from study.search.stopping import Halving
from study.search.suite import SuiteSearch
from study.terminal.live import StudyView
from trainables.trainable import WEIGHTS_FILE

MOST_RETRIES = 2
"""Of a trial that gets no epoch further; nodes that come and go may stop it more often."""

_OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|MemoryError|can't allocate memory|running low on memory")
_LOST = re.compile(r"The actor (died unexpectedly|\w+ is unavailable)")


class Events(Callback):
    """Tune's events, passed on in the order: record, checkpoint files, search, view.

    Attributes:
        stopping: trials save their state and end with their present epoch.
        full_disk: a trial could not be saved.
        crowded: ids of trials that ran out of memory and go on one scan at a time.
        utilisation: when and where trials ran.
    """

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder,
        view: StudyView,
        storage: Storage,
        search: StudySearch | SuiteSearch,
        halving: Halving | None,
        crowded: set[str],
    ):
        self.stopping, self.full_disk, self.crowded = False, False, crowded
        self._plan, self._recorder, self._view, self._storage = plan, recorder, view, storage
        self.search, self.halving = search, halving
        self.utilisation = Utilisation()
        self._front = plan.settings.folder / "front"
        self._actors: dict[str, dict[str, Any]] = {}
        self._reached: dict[str, int] = {}
        self._advance = view.begin("trials", plan.trials, recorder.ended_trials)

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

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial begins, or continues."""
        self._actors[trial.temporary_state.ray_actor._actor_id.hex()] = trial.config
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
        """A trial has been saved: its older checkpoints go."""
        self._storage.keep_only(checkpoint.path)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial is through, pruned or, when the study is stopping, to be continued by a resume."""
        name, result = trial.config["id"], trial.last_result
        self.utilisation.end(name)
        if result.get("finished"):
            assert trial.checkpoint is not None
            self._keep_weights(name, trial.checkpoint.path, dict(trial.config))
            self._end(name, FINISHED, result["diverged"])
        elif self.halving is not None and name in self.halving.stopped:
            self._end(name, PRUNED, diverged=False)
        # else it was interrupted: it stays `running` and a resume continues it

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial has failed and is tried again from its newest checkpoint."""
        name, reason = trial.config["id"], _reason(trial)
        self.utilisation.end(name)
        if _OUT_OF_MEMORY.search(_last_error(trial)) and not trial.config["one_by_one"]:
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
            self.full_disk = True
            self._stop()
            return  # it stays `running`
        self._recorder.started(trial.config)  # it may never have come that far
        self._end(name, FAILED, diverged=False, problem=reason)
        self._view.line(f"{' ' * 14}[red]{escape(reason)}[/red] ({escape(str(trial.error_file))})")

    def on_host_memory(self, error: OutOfMemoryError) -> None:
        """Ray has killed a trial because its node ran low on memory, of which Tune knows nothing: it gave up.

        Raises:
            OutOfMemoryError: what was killed was no trial.
        """
        killed = re.search(r"Actor\((\w+)", str(error))
        config = self._actors.get(killed.group(1)) if killed else None
        if config is None:
            raise error
        if config["one_by_one"]:
            self._end(config["id"], FAILED, diverged=False, problem="out of memory, also one scan at a time")
        else:
            self._relieve(config["id"])

    def _relieve(self, name: str) -> None:
        self.crowded.add(name)
        self._view.line(f"{name}  [yellow]out of memory: tried again, now one scan at a time[/yellow]")

    def _keep_weights(self, name: str, checkpoint: str, config: dict[str, Any]) -> None:
        """Fetch a trial's final weights into the study's front, and write its configuration there."""
        folder = self._front / name
        folder.mkdir(parents=True, exist_ok=True)
        self._storage.fetch(f"{checkpoint}/{WEIGHTS_FILE}", folder / WEIGHTS_FILE)
        write_json(folder / "config.json", {key: value for key, value in config.items() if key != "checkpoint"})

    def _end(self, name: str, status: str, diverged: bool, problem: str | None = None) -> None:
        if problem is None and name in self.crowded:
            problem = "out of memory: continued one scan at a time"
        self._recorder.ended(name, status, diverged, problem)
        rows, row = self._recorder.rows, self._recorder.row(name)
        on_front = {row["id"] for row in rows if row["on_front"]}
        for folder in self._front.glob("*"):
            if folder.name not in on_front:
                shutil.rmtree(folder)
        self._storage.forget(name)
        self.search.ended(row)
        best = self._recorder.best
        shown = f"{name}  {row['strategy']:19}" if isinstance(self._plan.space, Suite) else name
        self._view.ended(
            name, _line(row, shown), f"best feasible: {best_line(best)}" if best else "no feasible trial yet"
        )
        self._advance(self._recorder.ended_trials)


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


def _line(row: dict[str, Any], name: str) -> str:
    if row["status"] == FAILED:
        return f"{name}  failed"
    outcome = "diverged" if row["diverged"] else "feasible" if row["feasible"] else "infeasible"
    if row["status"] == PRUNED:
        outcome = "pruned"
    return (
        f"{name}  {outcome:10}  retain {row['retain_dice']:.3f}  forget {row['forget_dice']:.3f}"
        f"  gap {row['dice_gap']:+.3f}  {row['epochs_done']} epochs, {row['seconds']:.0f} s"
    )


def _last_error(trial: Trial) -> str:
    """What a trial's log has of its newest failure."""
    return Path(trial.error_file).read_text(encoding="utf-8").rpartition("Failure # ")[2]


def _reason(trial: Trial) -> str:
    """Out of memory, a loss, or the last line of a failed trial's log."""
    error = _last_error(trial)
    if _OUT_OF_MEMORY.search(error):
        return "out of memory" + (", also one scan at a time" if trial.config["one_by_one"] else "")
    if _LOST.search(error):
        node = trial.last_result.get("node_ip")  # of an earlier try, if this one has not reported yet
        return "the loss of its process or node" + (f" (last report from {node})" if node else "")
    return error.strip().rpartition("\n")[2]
