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
    pytest.mark.soak,
    pytest.mark.cohort,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real cohorts are not beside this checkout"),
]


HIPPOCAMPUS = (
    *("--cohort", f"decathlon:{DATA / 'Task04_Hippocampus'}"),
    *("--retain-count", "9", "--forget-count", "3", "--heldout-count", "4", "--baseline-epochs", "50"),
)
BARE = ("--references", "1", "--no-evidence")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Runs a study, and gives its folder, its trial table and study.json; the studies share a cache."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def run(*options, space="noisy_label"):
        studies = tmp_path_factory.mktemp("studies")
        command = [sys.executable, "-m", "study.run", "--space", space, "--name", "s", "--studies", str(studies)]
        environment = {**os.environ, "LETHE_CACHE": cache}
        subprocess.run([*command, *options], cwd=ROOT, env=environment, check=True, timeout=1800)
        folder = studies / "s"
        return folder, pd.read_parquet(folder / "trials"), json.loads((folder / "study.json").read_text())

    return run


def test_hippocampus_is_forgotten_and_kept(study):
    _, table, record = study(*HIPPOCAMPUS, *BARE, "--trials", "4", "--retain-floor", "0.95")
    baseline, retrained = record["references"]["baseline"], record["references"]["retrained"]
    assert min(baseline["retain_dice"], baseline["forget_dice"]) >= 0.88
    assert retrained["forget_dice"] == pytest.approx(retrained["heldout_dice"], abs=0.10)
    best = table[table.feasible].sort_values("dice_gap").iloc[-1]
    assert best.retention >= 0.95
    assert best.dice_gap >= 0.80


def test_whole_brains_with_a_label_map(study):
    folder, table, record = study(
        *("--cohort", f"bids:{DATA / 'IXI_brain'}", "--label-map", str(DATA / "IXI_brain/label_map.csv")),
        *("--shape", "32,32,24", "--retain-count", "8", "--forget-count", "2", "--heldout-count", "4"),
        *("--baseline-epochs", "20", "--epochs", "5", "--trials", "3", "--references", "2", "--shadows", "0"),
    )
    assert record["cohort"]["classes"][:2] == ["background", "cortical_GM(+amygdala,hippocampus)"]
    assert len(record["cohort"]["classes"]) == 8
    assert [len(record["split"][name]) for name in ("retain", "forget", "heldout")] == [8, 2, 4]
    assert record["references"]["baseline"]["retain_dice"] > 0.3
    assert list(table.status) == ["finished"] * 3
    references = pd.read_parquet(folder / "references").set_index("id")
    assert references.loc["baseline", ["retrained_low", "retrained_high", "relearn_steps"]].notna().all()


def test_the_papers_table_on_hippocampus(study):
    """Ten rows from five trials: one serves both horizons."""
    folder, table, record = study(
        *HIPPOCAMPUS,
        *BARE,
        *("--horizons", "4,8", "--seeds", "1"),
        space="paper",
    )
    recipes = ["noisy_label", "retain_label", "max_loss", "random_encoder", "fix_decoder"]
    rows = pd.read_csv(folder / "paper_table.csv")
    assert list(zip(rows.strategy, rows.horizon, strict=True)) == [(name, h) for name in recipes for h in (4, 8)]
    assert set(rows.seeds) == {1}
    assert sorted(table.strategy) == sorted(recipes)
    assert list(table.status) == ["finished"] * 5
    subjects = pd.read_parquet(folder / "subjects")
    for trial in table.itertuples():
        mine, baseline = subjects[subjects.id == trial.id], record["references"]["baseline"]
        assert sorted(mine.epoch.unique()) == [4, 8]
        for epoch, found in mine.groupby("epoch"):
            means = found.groupby("set").dice.mean()
            (row,) = rows[(rows.strategy == trial.strategy) & (rows.horizon == epoch)].itertuples()
            assert (row.retain_dice, row.forget_dice) == pytest.approx((means["retain"], means["forget"]), abs=1e-6)
            assert row.retention == pytest.approx(means["retain"] / baseline["retain_dice"], abs=1e-6)
    for row in rows[rows.strategy.isin(["noisy_label", "fix_decoder"]) & (rows.horizon == 8)].itertuples():
        assert row.retention >= 0.9
        assert row.forget_dice < 0.5 * record["references"]["baseline"]["forget_dice"]
