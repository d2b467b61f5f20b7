"""The Tune trainable around the loop: one step is one epoch."""

import time
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable
from ray.tune.result import DONE, SHOULD_CHECKPOINT
from safetensors.torch import save_file

from trainables import strategies
from trainables.data import TrialData
from trainables.evaluation import gaps
from trainables.mechanics import Strategy
from trainables.med3d import med3d
from trainables.recipe import Recipe
from trainables.unlearning import Unlearning, shared_tensor

CHECKPOINT_SHARE = 0.05
"""Largest share of a trial's time that writing checkpoints may take."""

STATE_FILE, WEIGHTS_FILE = "state.pt", "weights.safetensors"


class UnlearningTrial(Trainable):
    """Starts from the baseline, applies a strategy, reports every epoch's metrics and gaps.

    The config of a trial holds `strategy`, `knobs` (the preset's arguments and the recipe's fields together),
    `seed`, and `checkpoint`: the state file of an earlier session to continue from, or None.
    """

    def setup(self, config: dict[str, Any], data: TrialData, baseline: dict[str, Any], threads: int) -> None:
        """Keep what all trials share.

        Args:
            config: see the class.
            data: arrays that live in the object store, read without a copy.
            baseline: `depth` of the network, `weights` (name -> array) and the two figures that gaps refer to,
                `baseline_retain_dice` and `retrained_forget_dice`.
            threads: of torch on the CPU; results repeat bit for bit for the same number only.
        """
        torch.set_num_threads(threads)
        self._data, self._baseline = data, baseline
        self._network = med3d(baseline["depth"], data.classes)
        self._weights = {
            name: shared_tensor(value, torch.device("cpu")) for name, value in baseline["weights"].items()
        }
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial in this process."""
        self._network.load_state_dict(self._weights)
        strategy, recipe = build(new_config["strategy"], new_config["knobs"])
        self._loop = Unlearning(self._network, self._data, strategy, recipe, new_config["seed"])
        self._save_seconds, self._unsaved_seconds = 0.0, 0.0
        if new_config["checkpoint"]:
            self._load(Path(new_config["checkpoint"]))
        return True

    def step(self) -> dict[str, Any]:
        """Train and evaluate one epoch; NaN where a metric is undefined."""
        report = next(self._loop)
        self._unsaved_seconds += report.seconds
        due = self._unsaved_seconds > self._save_seconds / CHECKPOINT_SHARE
        return {
            **report.metrics,
            **gaps(report.metrics, self._baseline["baseline_retain_dice"], self._baseline["retrained_forget_dice"]),
            "epoch": report.epoch,
            "loss": report.loss,
            "seconds": report.seconds,
            "diverged": report.diverged,
            DONE: self._loop.finished,
            SHOULD_CHECKPOINT: self._loop.finished or due,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write what the next epoch depends on or, after the last one, the weights alone."""
        started = time.monotonic()
        if self._loop.finished:
            save_file(self._network.state_dict(), Path(checkpoint_dir) / WEIGHTS_FILE)
        else:
            torch.save(self._loop.state_dict(), Path(checkpoint_dir) / STATE_FILE)
        self._save_seconds, self._unsaved_seconds = time.monotonic() - started, 0.0

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Continue after a failure within the session."""
        self._load(Path(checkpoint_dir) / STATE_FILE)

    def _load(self, state: Path) -> None:
        self._loop.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))


def build(strategy: str, knobs: dict[str, Any]) -> tuple[Strategy, Recipe]:
    """The strategy and the recipe that these knobs describe."""
    recipe_names = {field.name for field in fields(Recipe)}
    preset = getattr(import_module(f"{strategies.__name__}.{strategy}"), strategy)
    settings = {name: value for name, value in knobs.items() if name in recipe_names}
    return preset(**{name: value for name, value in knobs.items() if name not in recipe_names}), Recipe(**settings)
