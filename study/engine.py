"""The engine: Ray Tune runs the trials, a callback hands every event to the recorder and the view."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from rich.markup import escape

from analysis.console import best_line
from analysis.front import best_feasible
from search_spaces.space import Suite
from study.plan import Plan
from study.recording import Recorder
from study.records import FAILED, FINISHED, OBJECTIVES, RUNNING, write_json
from study.references import BASELINE, STEERING, Reference
from study.resources import Resources
from study.search import StudySearch, Unfinished
from study.suite import SuiteSearch, suite_trials
from study.view import StudyView
from trainables.trainable import STATE_FILE, WEIGHTS_FILE, UnlearningTrial

_MOST_RETRIES = 2
"""Of a trial whose process dies or raises; each continues from the trial's newest checkpoint."""


def run_trials(
    plan: Plan, references: dict[str, Reference], resources: Resources, recorder: Recorder, view: StudyView
) -> bool:
    """Run trials until the study has as many as its settings ask for, or there are no others.

    Returns:
        Whether that was reached; False after Ctrl-C.
    """
    ended = [row for row in recorder.rows if row["status"] != RUNNING]
    remaining = plan.trials - len(ended)
    if remaining <= 0:
        return True
    storage = plan.settings.folder.absolute() / "tune"
    search = _search(plan, references[BASELINE].digest, recorder.rows, storage)
    baseline = {
        "depth": plan.settings.depth,
        "weights": references[BASELINE].weights,
        "digest": references[BASELINE].digest,
        "retain_floor": plan.settings.retain_floor,
        "baseline_retain_dice": references[BASELINE].metrics["retain_dice"],
        "retrained_forget_dice": references[STEERING].metrics["forget_dice"],
    }
    trainable = tune.with_parameters(UnlearningTrial, data=plan.data, baseline=baseline, threads=resources.cpus)
    Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=TuneConfig(
            search_alg=search,
            num_samples=remaining,
            max_concurrent_trials=resources.concurrent,
            reuse_actors=True,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=RunConfig(
            name=_next_session(storage),
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=_MOST_RETRIES),
            checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_at_end=False),
            callbacks=[_Events(plan, recorder, view)],
            verbose=0,
        ),
    ).fit()
    ended = [row for row in recorder.rows if row["status"] != RUNNING]
    return search.exhausted or len(ended) >= plan.trials


def _search(plan: Plan, baseline: str, rows: list[dict[str, Any]], storage: Path) -> StudySearch | SuiteSearch:
    """What suggests the trials that are left, given the rows of those that began."""
    ended = [row for row in rows if row["status"] != RUNNING]
    unfinished = [
        Unfinished(row["id"], {name: row[name] for name in plan.space.knobs}, newest_state(storage, row["id"]))
        for row in rows
        if row["status"] == RUNNING
    ]
    if isinstance(plan.space, Suite):
        trials = suite_trials(plan.space, plan.settings.seed, baseline)
        return SuiteSearch(trials, [row["id"] for row in ended], unfinished)
    objective = OBJECTIVES[plan.settings.objective]
    floor = plan.settings.retain_floor
    return StudySearch(plan.space, objective, baseline, plan.settings.seed, floor, ended, unfinished)


class _Events(Callback):
    """Tune's events, passed on in the order: record, checkpoint files, view."""

    def __init__(self, plan: Plan, recorder: Recorder, view: StudyView):
        self._plan, self._recorder, self._view = plan, recorder, view
        self._front = plan.settings.folder / "front"
        ended = sum(row["status"] != RUNNING for row in recorder.rows)
        self._advance = view.begin("trials", plan.trials, ended)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its callbacks for a restore that studies do not use."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._recorder.started(trial.config)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._recorder.epoch(trial.config["id"], result)
        self._view.running(trial.config["id"], result, trial.config["knobs"]["epochs"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if not trial.last_result.get("done"):
            return  # interrupted: it stays `running` and a resume continues it
        name = trial.config["id"]
        assert trial.checkpoint is not None
        keep_weights(self._front / name, Path(trial.checkpoint.path) / WEIGHTS_FILE, dict(trial.config))
        self._end(name, FINISHED, trial.last_result["diverged"])

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._view.line(f"{trial.config['id']}  [yellow]tried again after: {_reason(trial)}[/yellow]")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._recorder.started(trial.config)  # it may never have come that far
        self._end(trial.config["id"], FAILED, diverged=False)
        self._view.line(f"{' ' * 14}[red]{_reason(trial)}[/red] ({escape(str(trial.error_file))})")

    def _end(self, name: str, status: str, diverged: bool) -> None:
        self._recorder.ended(name, status, diverged)
        rows = self._recorder.rows
        on_front = {row["id"] for row in rows if row["on_front"]}
        for folder in self._front.glob("*"):
            if folder.name not in on_front:
                shutil.rmtree(folder)
        for folder in (self._plan.settings.folder / "tune").glob(f"*/{name}/checkpoint_*"):
            shutil.rmtree(folder)
        (row,) = (row for row in rows if row["id"] == name)
        best = best_feasible(rows, OBJECTIVES[self._plan.settings.objective])
        shown = f"{name}  {row['strategy']:19}" if isinstance(self._plan.space, Suite) else name
        self._view.ended(
            name, _line(row, shown), f"best feasible: {best_line(best)}" if best else "no feasible trial yet"
        )
        self._advance(sum(row["status"] != RUNNING for row in rows))


def newest_state(storage: Path, trial: str) -> Path | None:
    """The newest complete state file of a trial in any session; a file whose writing was cut off is passed over."""
    found = storage.glob(f"*/{trial}/checkpoint_*/{STATE_FILE}")
    for state in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
        if zipfile.is_zipfile(state):
            return state
    return None


def keep_weights(folder: Path, weights: Path, config: dict[str, Any]) -> None:
    """Copy a trial's final weights and configuration into the study's front."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS_FILE)
    write_json(folder / "config.json", {key: value for key, value in config.items() if key != "checkpoint"})


def _line(row: dict[str, Any], name: str) -> str:
    if row["status"] == FAILED:
        return f"{name}  failed"
    outcome = "diverged" if row["diverged"] else "feasible" if row["feasible"] else "infeasible"
    return (
        f"{name}  {outcome:10}  retain {row['retain_dice']:.3f}  forget {row['forget_dice']:.3f}"
        f"  gap {row['dice_gap']:+.3f}  {row['epochs_done']} epochs, {row['seconds']:.0f} s"
    )


def _reason(trial: Trial) -> str:
    """The last line of a failed trial's log."""
    return escape(Path(trial.error_file).read_text().strip().rpartition("\n")[2])


def _trial_folder(trial: Trial) -> str:
    return str(trial.config["id"])


def _next_session(storage: Path) -> str:
    return f"session-{1 + len(list(storage.glob('session-*')))}"
