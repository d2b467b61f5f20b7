"""The Tune trainable around the loop: one step is one epoch."""

import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyarrow.fs import FileSystem
from ray.tune import Trainable
from ray.tune.result import DONE, SHOULD_CHECKPOINT
from safetensors.torch import save_file

from trainables.cohorts.cache import cache_dir
from trainables.data import TrialData
from trainables.device import shared_tensor
from trainables.gaps import gaps
from trainables.mechanics.scopes import plain_state
from trainables.mechanics.strategy import build
from trainables.med3d import med3d_with
from trainables.unlearning import Unlearning

CHECKPOINT_SHARE = 0.05
"""Largest share of a trial's time that writing checkpoints may take."""

STATE_FILE, WEIGHTS_FILE = "state.pt", "weights.safetensors"


class UnlearningTrial(Trainable):
    """Starts from the baseline, applies a strategy, reports every epoch's metrics and gaps.

    The config of a trial holds `strategy`, `knobs` (the preset's arguments and the recipe's fields together),
    `seed`, `checkpoint`: the state file of an earlier session to continue from (a path, or a URI that pyarrow opens),
    or None, and `one_by_one`: whether the scans of a step go through the network one at a time.
    """

    def setup(
        self,
        config: dict[str, Any],
        data: TrialData,
        weights: dict[str, np.ndarray],
        baseline: dict[str, Any],
        threads: int,
    ) -> None:
        """Keep what all trials share.

        Args:
            config: see the class.
            data, weights: the cohort's and the baseline's arrays in the object store, read without a copy.
            baseline: the `digest` of its weights, the `depth` of the network, the `metrics` of the `baseline` and of
                the `retrained` reference, which gaps refer to, and the study's `retain_floor`.
            threads: of torch on the CPU; results repeat bit for bit for the same number only.
        """
        torch.set_num_threads(threads)
        self._data, self._baseline = data, baseline
        here = torch.device("cpu")
        state = {name: shared_tensor(value, here) for name, value in weights.items()}
        self._plain = med3d_with(state, baseline["depth"], data.classes)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        strategy, recipe = build(new_config["strategy"], new_config["knobs"])
        self._loop = Unlearning(
            copy.deepcopy(self._plain),
            self._data,
            strategy,
            recipe,
            new_config["seed"],
            shared=cache_dir() / "features" / self._baseline["digest"],
            floor_dice=self._baseline["retain_floor"] * self._baseline["metrics"]["baseline"]["retain_dice"],
            one_by_one=new_config["one_by_one"],
        )
        self._save_seconds, self._unsaved_seconds = 0.0, 0.0
        if new_config["checkpoint"]:
            self._load(new_config["checkpoint"])
        return True

    def step(self) -> dict[str, Any]:
        """Train and evaluate one epoch; NaN where a metric is undefined."""
        report = next(self._loop)
        metrics = report.metrics
        self._unsaved_seconds += report.seconds
        due = self._unsaved_seconds > self._save_seconds / CHECKPOINT_SHARE
        return {
            **metrics,
            **gaps(metrics, **self._baseline["metrics"]),
            "epoch": report.epoch,
            "loss": report.loss,
            "seconds": report.seconds,
            "diverged": report.diverged,
            "subjects": report.subjects,
            "finished": self._loop.finished,
            DONE: self._loop.finished,
            SHOULD_CHECKPOINT: self._loop.finished or due,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write what the next epoch depends on or, after the last one, the weights alone."""
        started = time.monotonic()
        if self._loop.finished:
            save_file(plain_state(self._loop.network), Path(checkpoint_dir) / WEIGHTS_FILE)
        else:
            torch.save(self._loop.state_dict(), Path(checkpoint_dir) / STATE_FILE)
        self._save_seconds, self._unsaved_seconds = time.monotonic() - started, 0.0

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Continue after a failure within the session."""
        self._load(str(Path(checkpoint_dir).absolute() / STATE_FILE))

    def _load(self, state: str) -> None:
        filesystem, path = FileSystem.from_uri(state)
        with filesystem.open_input_file(path) as file:
            self._loop.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
