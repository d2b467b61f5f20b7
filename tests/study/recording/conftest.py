"""A recorder of made-up trials."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from study.networks.session import Reference
from study.recording.recorder import Recorder
from study.records.constraints import Constraint
from study.records.evidence import EVIDENCE
from study.records.metrics import METRICS
from study.records.objectives import OBJECTIVES
from study.records.study_record import Recipes, SplitRecord
from study.records.trials import FINISHED

KNOBS = {"lr": float, "epochs": int}
BASELINE_RETAIN = 0.9
FLOOR = (Constraint("retention", ">=", 0.9),)
SETS = {"retain": ("s-1", "s-2", "s-3"), "forget": ("s-4",), "heldout": ("s-5", "s-6")}


class Made(Recorder):
    """Records trials and references by their outcomes alone."""

    KNOBS, SETS, BASELINE_RETAIN = KNOBS, SETS, BASELINE_RETAIN

    def begin(self, name: str, strategy: str = "noisy_label", seed: int = 0, **knobs: float) -> None:
        self.started({"id": name, "strategy": strategy, "seed": seed, "knobs": knobs})

    def report(self, name: str, epoch: int, retain: float = 0.85, forget: float = 0.25, **values) -> None:
        """An epoch, with what the trainable reports."""
        metrics = {**dict.fromkeys(METRICS, 0.5), "retain_dice": retain, "forget_dice": forget}
        metrics |= {"dice_gap": retain - forget, "retention": retain / BASELINE_RETAIN}
        rest = {"epoch": epoch, "loss": 1 / epoch, "seconds": 2.0, "done": False, "subjects": values_of()}
        self.epoch(name, {**metrics, **rest, **values})

    def trial(self, name: str, *reports: dict, status: str = FINISHED, diverged: bool = False) -> None:
        """A whole trial, with what its epochs report."""
        self.begin(name, lr=0.001, epochs=len(reports))
        for epoch, values in enumerate(reports, start=1):
            self.report(name, epoch, **values)
        self.ended(name, status, diverged)

    def refer(self, *names: str, epochs: int = 2, start: float = 0.0) -> None:
        """References whose Dice is known after their last epoch."""
        history = [{"epoch": epoch, "loss": 2 / epoch, "seconds": 1.0} for epoch in range(1, epochs + 1)]
        history[-1]["retain_dice"] = 0.9
        metrics = {"retain_dice": 0.9, "forget_dice": 0.8}
        for name in names:
            self.reference(name, Reference("d" * 12, 5, metrics, values_of(start), history, weights={}))


def values_of(start: float = 0.0) -> dict[str, list[float]]:
    """`<set>_<metric>` -> one value per subject, all of them different."""
    numbers = count()
    return {
        f"{subset}_{metric}": [start + next(numbers) / 64 for _ in subjects]
        for metric in ("dice", "mae")
        for subset, subjects in SETS.items()
    }


@pytest.fixture
def opened(tmp_path: Path):
    """Opens the records in tmp_path / "s", as each session does."""

    def opens(objective: str = "gap", horizons=(), constraints=FLOOR) -> Made:
        record = SimpleNamespace(
            knobs=KNOBS,
            trial_cpus=3,
            metrics=METRICS,
            evidence_columns=EVIDENCE,
            objective=OBJECTIVES[objective],
            constraints=constraints,
            split=SplitRecord(**SETS),
            suite=Recipes(horizons=horizons),
        )
        return Made(tmp_path / "s", record)

    return opens


@pytest.fixture
def wait_until() -> Callable:
    """Waits for a condition, 30 s at most."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    return wait
