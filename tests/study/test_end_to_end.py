"""Whole studies: what a finished one leaves behind, one with a strategy of its own that is extended, and a suite."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from optuna.trial import TrialState

ROOT = Path(__file__).parents[2]
KNOBS = ["noise_rate", "lr", "forget_weight", "epochs"]
FAST = ("--forget", "anna-mueller", "--heldout", "carl-weber", "--baseline-epochs", "3", "--no-evidence")


def tracked(studies, study):
    """The client of a folder's MLflow store, and the study's runs by their names."""
    client = MlflowClient(f"sqlite:///{studies / 'mlflow.db'}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()], f"tags.study = '{study}'")
    named = {run.data.tags["name"]: run for run in runs}
    assert len(named) == len(runs), "a run was made twice"
    return client, named


@pytest.fixture
def studies(_empty_store, tmp_path):
    """A folder of studies whose MLflow store has its tables already, which takes MLflow seconds."""
    (tmp_path / "studies").mkdir()
    shutil.copy(_empty_store, tmp_path / "studies/mlflow.db")
    return tmp_path / "studies"


@pytest.fixture
def cohort(done):
    """The command-line option of the finished study's cohort."""
    return done.options[2:4]


def test_tables_hold_every_trial_and_epoch(done):
    table, epochs = done.trials, done.table("history")
    assert (len(table), set(table.status)) == (2, {"finished"})
    assert table[["retain_dice", "forget_mae", "retention"]].notna().all(axis=None)
    np.testing.assert_allclose(table.dice_gap, table.retain_dice - table.forget_dice)
    last = epochs.sort_values("epoch").groupby("id").last().loc[table.index]
    assert (last.epoch == table.epochs).all()
    assert (last.dice_gap == table.dice_gap).all()


def test_the_front_has_the_configuration_of_its_rows(done):
    assert [path.name for path in (done.folder / "front").iterdir()] == [done.front]
    config = json.loads((done.folder / "front" / done.front / "config.json").read_text())
    assert config["knobs"] == done.trials.loc[done.front, KNOBS].to_dict()


def test_mlflow_has_a_parent_and_one_run_per_trial_and_reference(done):
    client, runs = tracked(done.studies, "s")
    table, epochs = done.trials, done.table("history")
    assert set(runs) == {"study", *done.record["references"], *table.index}
    parent = runs["study"]
    assert {"version.torch", "mlflow.source.git.commit", "cohort", "best_trial"} <= set(parent.data.tags)
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} >= {"pareto.html", "study.json"}
    for trial, row in table.iterrows():
        child = runs[trial]
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert float(child.data.params["lr"]) == row.lr
        assert child.data.tags["on_front"] == str(row.on_front).lower()
        assert child.data.tags["feasible"] == str(row.feasible).lower()
        gaps = client.get_metric_history(child.info.run_id, "gap/dice")
        assert {gap.step: gap.value for gap in gaps} == dict(
            epochs.loc[epochs.id == trial, ["epoch", "dice_gap"]].itertuples(index=False)
        )


def test_study_json_says_what_ran(done):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.record["commit"] == commit.stdout.strip()
    assert done.record["versions"]["torch"] == torch.__version__
    assert [len(done.record["split"][name]) for name in ("retain", "forget", "heldout")] == [2, 2, 2]


def test_the_values_of_single_subjects_have_the_recorded_means(done):
    record, table, values = done.record, done.trials, done.table("subjects")
    assert set(values.id) == {*record["references"], *table.index}
    for name, rows in values.groupby("id"):
        recorded = record["references"].get(name) or table.loc[name]
        assert set(rows.epoch) == {20 if name in record["references"] else 3}
        for subset, members in rows.groupby("set"):
            assert sorted(members.subject) == sorted(record["split"][subset])
            assert recorded[f"{subset}_dice"] == pytest.approx(members.dice.mean())
            assert recorded[f"{subset}_mae"] == pytest.approx(members.mae.mean())


def test_the_terminal_ends_with_the_front_and_what_to_do_next(done):
    ending = done.output[done.output.index("Pareto front:") :]
    assert f"best            {done.front}" in ending
    assert f"python -m analysis.ui --studies {done.studies}\n" in ending
    assert "--resume s" in ending
    for word in ("Traceback", "INFO", "A new study created"):
        assert word not in done.output


PRESET = """
from typing import Literal

import torch

from trainables.mechanics.labels import noisy_labels
from trainables.mechanics.step import Step
from trainables.mechanics.strategy import Strategy


def moody(mood: Literal["good", "mad", "bad"] = "good") -> Strategy:
    noisy = noisy_labels(1.0, "never")

    def term(step: Step) -> torch.Tensor:
        if mood == "bad" and step.epoch > 1:
            raise ValueError("bad mood")
        return noisy(step) * (float("nan") if mood == "mad" and step.epoch > 1 else 1.0)

    return Strategy(forget=term)
"""
SPACE = """
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space("moody", {"mood": CategoricalDistribution(["good", "mad", "bad"]), "epochs": IntDistribution(3, 3)})
"""


@pytest.mark.slow
def test_a_strategy_is_one_file_its_errors_are_its_trials_and_a_study_is_extended(studies, done, cohort, tmp_path):
    """A copy of the code with a strategy that raises, or gives no number, for some of its domain: a trial of each.

    The first trial stands when the same command asks for three.
    """
    code, storage = tmp_path / "code", f"sqlite:///{tmp_path / 'optuna.db'}"
    for package in ("study", "trainables", "search_spaces", "analysis"):
        shutil.copytree(ROOT / package, code / package)
    (code / "trainables/strategies/moody.py").write_text(PRESET)
    (code / "search_spaces/moody.py").write_text(SPACE)
    options = (*FAST, "--references", "1", "--sampler", "grid", "--optuna-storage", storage, "--concurrent", "1")
    command = [sys.executable, "-m", "study.run", "--space", "moody", *cohort, *options, "--name", "m"]

    def run(trials):
        variables = {**os.environ, "LETHE_CACHE": str(done.cache), "COLUMNS": "200", "PYTHONPATH": str(code)}
        process = subprocess.run(
            [*command, "--studies", str(studies), "--trials", str(trials)],
            cwd=code,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        assert "Traceback" not in process.stdout
        return process.stdout, pd.read_parquet(studies / "m/trials").set_index("id")

    first, before = run(1)
    output, after = run(3)
    assert ("fitted" in first, "fitted" in output) == (True, False)
    columns = before.columns.drop("on_front")
    stood = after.loc[before.index, columns]
    pd.testing.assert_frame_equal(stood, before[columns], check_dtype=False)  # its seconds too

    trials = after.reset_index().set_index("mood")
    assert trials.status.to_dict() == {"good": "finished", "mad": "finished", "bad": "failed"}
    assert trials.diverged.to_dict() == {"good": False, "mad": True, "bad": False}
    assert not trials.feasible[["mad", "bad"]].any()
    assert trials.epochs_done.to_dict() == {"good": 3, "mad": 2, "bad": 1}
    assert trials.problem["bad"] == "ValueError: bad mood"
    said = first + output
    assert said.count(f"{trials.id['bad']}  tried again after: ValueError: bad mood") == 2
    assert f"{trials.id['bad']}  failed" in said
    assert f"{trials.id['mad']}  diverged" in said
    kept = optuna.load_study(study_name="m", storage=storage).get_trials()
    assert sorted(trial.state for trial in kept) == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    _, runs = tracked(studies, "m")
    assert set(runs) == {"study", "baseline", "retrained", *after.index}
    assert runs[trials.id["bad"]].info.status == "FAILED"


@pytest.mark.slow
def test_a_suite_runs_every_recipe_with_every_seed_and_reports_its_horizons(studies, done, cohort, run_of):
    split = ("--forget", "anna-mueller,berta-schmidt", "--heldout", "carl-weber,dora-fischer")
    options = ("--horizons", "1,2", "--seeds", "1", "--baseline-epochs", "20", "--references", "2", "--no-evidence")
    options += ("--concurrent", "1", "--cpus-per-trial", "1", "--name", "table")
    code, output = run_of(done.cache, "--space", "paper", *cohort, *split, *options, "--studies", str(studies))
    assert code == 0, output
    assert "fitted" not in output  # its references are those of the finished study
    folder = studies / "table"
    table, values = (pd.read_parquet(folder / name) for name in ("trials", "subjects"))
    table, study = table.set_index("id"), json.loads((folder / "study.json").read_text())
    recipes = ["noisy_label", "retain_label", "max_loss", "random_encoder", "fix_decoder"]
    assert sorted(zip(table.strategy, table.seed, strict=True)) == sorted((name, 0) for name in recipes)
    assert set(table.status) == {"finished"}
    assert set(table.epochs_done) == {2}
    assert set(study["references"]) == {"baseline", "retrained", "retrained-1"}
    assert len({reference["digest"] for reference in study["references"].values()}) == 3
    steering = study["references"]["retrained"]["forget_dice"]
    np.testing.assert_allclose(table.retrain_gap, (table.forget_dice - steering).abs())
    epochs = pd.read_parquet(folder / "history").set_index(["id", "epoch"])
    for (name, epoch), rows in values[values.id.isin(table.index)].groupby(["id", "epoch"]):
        means = rows.groupby("set").dice.mean()
        assert epochs.loc[(name, epoch), "forget_dice"] == pytest.approx(means["forget"])
    assert values[values.id.isin(table.index)].groupby("id").epoch.unique().map(list).tolist() == [[1, 2]] * 5
    assert {path.name for path in folder.glob("paper_table.*")} == {
        f"paper_table.{kind}" for kind in ("csv", "md", "html")
    }
    rows = pd.read_csv(folder / "paper_table.csv")
    assert list(zip(rows.strategy, rows.horizon, strict=True)) == [(name, h) for name in recipes for h in (1, 2)]
    assert "more trials" not in output
    assert "Traceback" not in output


@pytest.mark.soak
def test_a_search_for_a_retrained_models_dice_with_a_fixed_knob(studies, done, cohort, run_of):
    options = ("--trials", "3", "--epochs", "2", "--objective", "retrain", "--set", "forget=ascent", "--name", "near")
    where = ("--references", "1", "--studies", str(studies))
    code, output = run_of(done.cache, "--space", "mechanics", *cohort, *FAST, *options, *where)
    assert code == 0, output
    folder = studies / "near"
    table = pd.read_parquet(folder / "trials").set_index("id")
    assert len(table) == 3
    assert set(table.forget) == {"ascent"}
    assert "noise_rate" not in table  # what only other choices have is not searched
    assert (table.moves.isna() == (table.retain == "features")).all()
    feasible = table.query("feasible")
    if len(feasible):
        assert f"best            {feasible.retrain_gap.idxmin()}" in output
        assert table.on_front[feasible.retrain_gap.idxmin()]
    for trial in table.query("on_front").index:
        knobs = json.loads((folder / "front" / trial / "config.json").read_text())["knobs"]
        assert set(knobs) == {name for name in knobs if pd.notna(table.loc[trial, name])}
