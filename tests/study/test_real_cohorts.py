"""The main job on real MRI, shortened; the full runs and their figures stand in benchmarks/README.md."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cohort,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real cohorts are not beside this checkout"),
]


def study(tmp_path, *options):
    """The trial table and study.json of a finished study."""
    command = [sys.executable, "-m", "study.run", "--space", "noisy_label", "--name", "s", "--studies", tmp_path]
    command += ["--references", "1", "--no-evidence"]
    environment = {**os.environ, "LETHE_CACHE": str(tmp_path / "cache")}
    subprocess.run([*map(str, command), *options], cwd=ROOT, env=environment, check=True, timeout=1800)
    return pd.read_parquet(tmp_path / "s/trials.parquet"), json.loads((tmp_path / "s/study.json").read_text())


def test_hippocampus_is_forgotten_and_kept(tmp_path):
    table, record = study(
        tmp_path,
        *("--cohort", f"decathlon:{DATA / 'Task04_Hippocampus'}"),
        *("--retain-count", "9", "--forget-count", "3", "--heldout-count", "4"),
        *("--trials", "6", "--retain-floor", "0.95"),
    )
    baseline, retrained = record["references"]["baseline"], record["references"]["retrained"]
    assert min(baseline["retain_dice"], baseline["forget_dice"]) >= 0.88
    assert retrained["forget_dice"] == pytest.approx(retrained["heldout_dice"], abs=0.10)
    best = table[table.feasible].sort_values("dice_gap").iloc[-1]
    assert best.retention >= 0.95
    assert best.dice_gap >= 0.80


def test_whole_brains_with_a_label_map(tmp_path):
    table, record = study(
        tmp_path,
        *("--cohort", f"bids:{DATA / 'IXI_brain'}", "--label-map", str(DATA / "IXI_brain/label_map.csv")),
        *("--shape", "32,32,24", "--retain-count", "8", "--forget-count", "2", "--heldout-count", "4"),
        *("--baseline-epochs", "20", "--epochs", "5", "--trials", "3"),
    )
    assert record["cohort"]["classes"][:2] == ["background", "cortical_GM(+amygdala,hippocampus)"]
    assert len(record["cohort"]["classes"]) == 8
    assert [len(record["split"][name]) for name in ("retain", "forget", "heldout")] == [8, 2, 4]
    assert record["references"]["baseline"]["retain_dice"] > 0.3
    assert list(table.status) == ["finished"] * 3
