"""Real trials that can be had again in microseconds: a grid of Noisy Label recipes on hippocampi, epoch by epoch.

`python benchmarks/replay.py --cohort decathlon:DIR` records replay.parquet anew: 180 trials of 20 epochs (40 minutes
on two cores). Between the grid's points every metric is interpolated linearly (learning rate and forget weight on a
logarithmic scale), so any configuration of SPACE has an answer.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from optuna.distributions import FloatDistribution, IntDistribution
from scipy.interpolate import RegularGridInterpolator

from search_spaces.space import Space
from study.records.metrics import METRICS
from study.records.rows import TrialRow
from study.records.trials import FINISHED

TABLE = Path(__file__).with_name("replay.parquet")
KNOBS = ("noise_rate", "lr", "forget_weight")
NOISE_RATE = [0.6, 0.7, 0.8, 0.9, 1.0]
LR = np.geomspace(1e-4, 3e-3, 6).tolist()
FORGET_WEIGHT = np.geomspace(0.1, 2.0, 6).tolist()
EPOCHS = 20

SPACE = Space(
    strategy="noisy_label",
    domains={
        "noise_rate": FloatDistribution(0.6, 1.0),
        "lr": FloatDistribution(LR[0], LR[-1], log=True),
        "forget_weight": FloatDistribution(FORGET_WEIGHT[0], FORGET_WEIGHT[-1], log=True),
        "epochs": IntDistribution(5, EPOCHS),
    },
    first=[{"noise_rate": 1.0, "lr": 1e-3, "forget_weight": 1.0, "epochs": 20}],
)


class Replay:
    """Answers what a trial of SPACE would have reported."""

    def __init__(self) -> None:
        table = pd.read_parquet(TABLE).sort_values([*KNOBS, "epoch"])
        values = table[[*METRICS, "loss", "seconds"]].to_numpy(np.float64)
        axes = (NOISE_RATE, np.log(LR), np.log(FORGET_WEIGHT))
        shape = [*map(len, axes), EPOCHS, values.shape[1]]
        self._at = RegularGridInterpolator(axes, values.reshape(shape), bounds_error=False, fill_value=None)

    def epochs(self, knobs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The reports of a trial, epoch by epoch."""
        point = [knobs["noise_rate"], np.log(knobs["lr"]), np.log(knobs["forget_weight"])]
        found = self._at([point])[0]
        names = (*METRICS, "loss", "seconds")
        return [
            {**dict(zip(names, row.tolist(), strict=True)), "epoch": epoch, "diverged": False}
            for epoch, row in enumerate(found[: int(knobs["epochs"])], 1)
        ]


def row_of(name: str, knobs: Mapping[str, Any], reports: list[dict[str, Any]], status: str = FINISHED) -> TrialRow:
    """The trial's row: its last epoch's metrics, and the seconds of all."""
    return TrialRow(
        id=name,
        strategy="noisy_label",
        seed=0,
        knobs=knobs,
        status=status,
        metrics={metric: reports[-1][metric] for metric in METRICS},
        epochs_done=len(reports),
        seconds=float(sum(report["seconds"] for report in reports)),
    )


def record(cohort: str) -> None:
    """Run the grid as a study and keep its history."""
    options = ["--shape", "32,40,32", "--retain-count", "8", "--forget-count", "3", "--heldout-count", "4"]
    options += ["--references", "1", "--no-evidence", "--baseline-epochs", "60", "--sampler", "grid", "--no-enqueue"]
    for name, values in zip(KNOBS, (NOISE_RATE, LR, FORGET_WEIGHT), strict=True):
        options += ["--set", f"{name}={'|'.join(map(repr, values))}"]
    options += ["--set", f"epochs={EPOCHS}", "--trials", str(len(NOISE_RATE) * len(LR) * len(FORGET_WEIGHT))]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "study.run", "--space", "noisy_label", "--cohort", cohort, "--name", "grid"]
        subprocess.run([*command, "--studies", folder, *options], check=True)
        history = pd.read_parquet(Path(folder) / "grid" / "history")
        trials = pd.read_parquet(Path(folder) / "grid" / "trials")
    table = history.merge(trials[["id", *KNOBS]], on="id").sort_values([*KNOBS, "epoch"])
    table["seconds"] = table.groupby([*KNOBS])["seconds"].transform("median")
    kept = table[[*KNOBS, "epoch", *METRICS, "loss", "seconds"]]
    single = dict.fromkeys((*METRICS, "loss", "seconds"), np.float32)
    kept.astype(single).to_parquet(TABLE, compression="zstd", index=False)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--cohort":
        sys.exit(__doc__)
    record(sys.argv[2])
