"""The engine with trials that compute nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from optuna.distributions import CategoricalDistribution
from ray import tune
from ray.tune.result import DONE, SHOULD_CHECKPOINT
from rich.console import Console
from safetensors.numpy import save_file

from search_spaces.space import Space
from study.cluster.nodes import Resources
from study.cluster.placement import TrialPlacement
from study.cluster.storage import Storage, storage_of
from study.networks.session import Reference, Session
from study.planning.plan import Plan
from study.recording.recorder import Recorder
from study.records.metrics import METRICS
from study.records.references import BASELINE
from study.records.settings import StudySettings
from study.records.study_record import SplitRecord, read_record
from study.records.tables import history_table, trials_table
from study.terminal.interrupts import Interrupts
from study.terminal.live import StudyView
from study.trials.engine import run_trials
from trainables.trainable import STATE_FILE, WEIGHTS_FILE

EPOCHS = 2
RATES = (0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Engine:
    """A study of four trials on a grid. Their retain Dice is the same; a larger `noise_rate` forgets more.

    Attributes:
        plan: the study's, without a cohort.
        trainable: what Tune runs.
    """

    plan: Plan
    trainable: Any

    @property
    def folder(self) -> Path:
        return self.plan.settings.folder

    @property
    def storage(self) -> Storage:
        return storage_of(self.plan.settings)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trial table, as another process reads it."""
        return trials_table(self.folder, self.plan.space.knobs).rows

    @property
    def front(self) -> set[str]:
        """Trials whose weights are kept."""
        return {path.parent.name for path in self.folder.glob(f"front/*/{WEIGHTS_FILE}")}

    @property
    def epochs(self) -> list[tuple[str, int]]:
        """Trial and epoch of each row of the history."""
        return sorted((row["id"], row["epoch"]) for row in history_table(self.folder).rows)

    @property
    def checkpoints(self) -> list[Path]:
        return list(self.folder.glob("tune/session-*/*/checkpoint_*"))

    def run(self, meddle: Callable[[Recorder], Any] = lambda recorder: None) -> bool:
        """One session; `meddle` may spoil its recorder."""
        plan = self.plan
        (stored,) = (Path(__file__).parents[2] / "data/studies-of-0.1").glob("noisy_label-*")
        split = SplitRecord((), (), ())
        changes = {"knobs": plan.space.knobs, "constraints": tuple(plan.constraints), "split": split}
        recorder = Recorder(self.folder, replace(read_record(stored), **changes))
        meddle(recorder)
        with Interrupts() as interrupts, StudyView(Console(quiet=True)) as view:
            references = {BASELINE: Reference("b" * 12, 0, {}, {}, [], {})}
            session = Session(plan, Resources(1, 1, 0.0), view, references)
            return run_trials(session, self.trainable, recorder, interrupts)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    # Of this function: Ray's workers cannot import the modules of tests.
    class Trial(tune.Trainable):
        def setup(self, config):
            self.reset_config(config)

        def reset_config(self, config):
            self._rate, self._epoch = config["knobs"]["noise_rate"], 0
            if config["checkpoint"]:
                self._epoch = torch.load(config["checkpoint"], weights_only=True)["epoch"]
            return True

        def step(self):
            self._epoch += 1
            finished = self._epoch == EPOCHS
            dice = {"retain_dice": 0.9, "forget_dice": 0.9 - self._rate, "dice_gap": self._rate, "retention": 1.0}
            about = {"epoch": self._epoch, "loss": 0.5, "seconds": 1.0, "diverged": False, "subjects": {}}
            ends = {"finished": finished, DONE: finished, SHOULD_CHECKPOINT: True}
            return {**dict.fromkeys(METRICS, 0.5), **dice, **about, **ends}

        def save_checkpoint(self, folder):
            if self._epoch == EPOCHS:
                save_file({"rate": np.array([self._rate])}, Path(folder) / WEIGHTS_FILE)
            else:
                torch.save({"epoch": self._epoch}, Path(folder) / STATE_FILE)

    settings = StudySettings(space="noisy_label", sampler="grid", trials=4, studies=tmp_path / "studies", name="s")
    settings.folder.mkdir(parents=True)
    space = Space("noisy_label", {"noise_rate": CategoricalDistribution(RATES)}, fixed={"epochs": EPOCHS})
    trainable = tune.with_resources(Trial, TrialPlacement([{"CPU": 1}]))
    return Engine(Plan(settings, space, None, None, None, ()), trainable)
