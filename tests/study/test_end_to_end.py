"""Whole studies as their users run them: the command line in a process of its own, on real Ray and MLflow."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from mlflow import MlflowClient
from safetensors.torch import load_file

from study.records.reading import knob_types
from study.records.tables import history_table, trials_table
from trainables.evaluation import evaluate
from trainables.med3d import med3d

ROOT = Path(__file__).parents[2]
SMALL = ("--baseline-epochs", "3", "--forget-count", "1", "--heldout-count", "1", "--no-evidence")
TINY = ("--epochs", "3", "--references", "1", *SMALL)
NAMES = ("anna-mueller", "berta-schmidt", "carl-weber", "dora-fischer-81", "emil-wagner-7", "fritz-becker-33")
KNOBS = ["noise_rate", "lr", "forget_weight", "epochs"]
launched = []


def command(*options, cohort=None):
    wanted = ["--cohort", f"medicalnet:{cohort}", "--space", "noisy_label", *TINY] if cohort else []
    return [sys.executable, "-m", "study.run", *wanted, *map(str, options)]


def launch(arguments, cache, cwd=ROOT):
    """A driver in a process group of its own, as a terminal starts it."""
    driver = subprocess.Popen(
        arguments,
        cwd=cwd,
        env={**os.environ, "LETHE_CACHE": str(cache), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    launched.append(driver)
    return driver


def run(arguments, cache, code=0, cwd=ROOT):
    driver = launch(arguments, cache, cwd)
    output, _ = driver.communicate(timeout=600)
    assert driver.returncode == code, output
    return output


def trials(folder):
    """As they stand, while the study runs too."""
    knobs = knob_types(json.loads((folder / "study.json").read_text())["knobs"])
    return trials_table(folder, knobs).read().to_pandas().set_index("id")


def history(folder):
    """Of the trials; the references have theirs in the same table."""
    table = history_table(folder).read().to_pandas()
    return table[table.id.isin(trials(folder).index)].reset_index(drop=True)


def subjects(folder):
    return pd.read_parquet(folder / "subjects")


def tracked(studies, study):
    """The study's MLflow runs: name tag -> all runs of that name."""
    client = MlflowClient(f"sqlite:///{studies / 'mlflow.db'}")
    everything = client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=500)
    runs = {}
    for found in everything:
        if found.data.tags.get("study") == study:
            runs.setdefault(found.data.tags["name"], []).append(found)
    return client, runs


def wait_until(condition, driver, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert driver.poll() is None, driver.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.05)


def epochs_written(folder, minimum):
    """Whether a trial that has not ended has this many epochs on record."""

    def reached():
        if not (folder / "study.json").exists():
            return False
        table, epochs = trials(folder), history(folder)
        running = table.index[table.status == "running"]
        return epochs[epochs.id.isin(running)].groupby("id").size().max() >= minimum

    return reached


@pytest.fixture(scope="module", autouse=True)
def no_driver_left():
    """A failed test leaves its driver behind."""
    yield
    for driver in launched:
        driver.kill()


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def cohort(work):
    """Six people with a bright sphere and a dim one in noise; the list file of their scans."""
    folder, centres = work / "patients", np.random.default_rng(0).integers(4, 12, (6, 2, 3))
    grid = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"))
    folder.mkdir()
    for name, places in zip(NAMES, centres, strict=True):
        labels = np.zeros((16, 16, 16), np.uint8)
        for label, place in enumerate(places, start=1):
            labels[((grid - place[:, None, None, None]) ** 2).sum(0) < 16] = label
        image = np.random.default_rng(len(name)).normal(10 + 5.0 * labels).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), folder / f"{name}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), folder / f"{name}-labels.nii.gz")
    (folder / "list.txt").write_text("".join(f"{name}.nii.gz {name}-labels.nii.gz\n" for name in NAMES))
    return folder / "list.txt"


@pytest.fixture
def studies(work, _empty_store):
    """Makes a folder of studies whose MLflow store has its tables already, which takes MLflow seconds."""

    def make(name):
        (work / name).mkdir()
        shutil.copy(_empty_store, work / name / "mlflow.db")
        return work / name

    return make


@pytest.fixture(scope="module")
def finished(work, cohort):
    """A finished study of four trials, one at a time, and what its terminal said."""
    options = ("--trials", 4, "--concurrent", 1, "--name", "done", "--studies", work / "studies")
    return work / "studies" / "done", run(command(*options, cohort=cohort), work / "cache")


def test_same_seed_same_metrics(finished, studies, work, cohort):
    """In another folder, with a cache of its own, so that the references are fitted again too."""
    options = ("--trials", 4, "--concurrent", 1, "--name", "done", "--studies", studies("again"))
    run(command(*options, cohort=cohort), work / "cache-again")
    for table in (trials, history):
        first, second = (table(folder).drop(columns="seconds") for folder in (finished[0], work / "again" / "done"))
        pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_tables_hold_every_trial_and_epoch(finished):
    folder, _ = finished
    table, epochs = trials(folder), history(folder)
    assert len(table) == 4
    assert set(table.status) == {"finished"}
    assert table[["retain_dice", "forget_mae", "retention"]].notna().all(axis=None)
    np.testing.assert_allclose(table.dice_gap, table.retain_dice - table.forget_dice)
    last = epochs.sort_values("epoch").groupby("id").last().loc[table.index]
    assert (last.epoch == table.epochs).all()
    assert (last.dice_gap == table.dice_gap).all()
    assert (epochs.groupby("id").size().loc[table.index] == table.epochs).all()


def test_front_weights_give_the_recorded_metrics(finished, work):
    """The network of a front trial, loaded by hand, has the Dice that its row claims."""
    folder, _ = finished
    front = trials(folder).query("on_front")
    assert sorted(path.name for path in (folder / "front").iterdir()) == sorted(front.index)
    (stored,) = (work / "cache" / "cohorts").iterdir()
    images, labels = (torch.tensor(np.load(stored / f"{name}.npy")) for name in ("images", "labels"))
    for trial, row in front.iterrows():
        network = med3d(10, 3)
        network.load_state_dict(load_file(folder / "front" / trial / "weights.safetensors"))
        everyone = evaluate(network, images, labels, {"one": tuple((scan,) for scan in range(len(images)))})
        sets = json.loads((folder / "study.json").read_text())["split"]
        weighted = row.retain_dice * len(sets["retain"]) + row.forget_dice + row.heldout_dice
        assert sum(everyone["one_dice"]) == pytest.approx(weighted, abs=1e-4)
        dice = subjects(folder).query("id == @trial").dice
        assert sorted(everyone["one_dice"]) == pytest.approx(sorted(dice), abs=1e-5)
        config = json.loads((folder / "front" / trial / "config.json").read_text())
        assert config["knobs"] == {name: pytest.approx(row[name]) for name in KNOBS}


def test_mlflow_has_a_parent_and_one_run_per_trial_and_reference(finished):
    folder, _ = finished
    table, epochs = trials(folder), history(folder)
    client, runs = tracked(folder.parent, "done")
    assert set(runs) == {"study", "baseline", "retrained", *table.index}
    assert all(len(same) == 1 for same in runs.values())
    parent = runs["study"][0]
    assert {"version.torch", "mlflow.source.git.commit", "cohort", "best_trial"} <= set(parent.data.tags)
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} >= {"pareto.html", "study.json"}
    for trial, row in table.iterrows():
        child = runs[trial][0]
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert float(child.data.params["lr"]) == row.lr
        assert child.data.tags["on_front"] == str(row.on_front).lower()
        assert child.data.tags["feasible"] == str(row.feasible).lower()
        gaps = client.get_metric_history(child.info.run_id, "gap/dice")
        assert {gap.step: gap.value for gap in gaps} == dict(
            epochs.loc[epochs.id == trial, ["epoch", "dice_gap"]].itertuples(index=False)
        )


def test_study_json_says_what_ran(finished):
    folder, _ = finished
    study = json.loads((folder / "study.json").read_text())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert study["commit"] == commit.stdout.strip()
    assert study["versions"]["torch"] == torch.__version__
    assert [len(study["split"][name]) for name in ("retain", "forget", "heldout")] == [4, 1, 1]
    assert set(study["references"]) == {"baseline", "retrained"}


def test_no_subject_id_leaves_the_cache(finished):
    """Not in a table, a database, a pickle of Tune or a page; names of the cohort's files are ids too."""
    folder, output = finished
    for file in folder.parent.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not [name for name in NAMES if name.encode() in content or name in str(file)], file
    assert not [name for name in NAMES if name in output]


def test_the_values_of_single_subjects_have_the_recorded_means(finished):
    folder, _ = finished
    table, values, study = trials(folder), subjects(folder), json.loads((folder / "study.json").read_text())
    assert set(values.id) == {"baseline", "retrained", *table.index}
    for name, rows in values.groupby("id"):
        recorded = study["references"].get(name) or table.loc[name]
        assert set(rows.epoch) == {3 if name in study["references"] else table.epochs[name]}
        for subset, members in rows.groupby("set"):
            assert sorted(members.subject) == sorted(study["split"][subset])
            assert recorded[f"{subset}_dice"] == pytest.approx(members.dice.mean())
            assert recorded[f"{subset}_mae"] == pytest.approx(members.mae.mean())


def test_terminal_ends_with_the_front_and_what_to_do_next(finished):
    folder, output = finished
    best = trials(folder).query("feasible").dice_gap.idxmax()
    ending = output[output.index("Pareto front:") :]
    assert all(trial in ending for trial in trials(folder).query("on_front").index)
    assert f"best feasible   {best}" in ending
    assert f"python -m analysis.ui --studies {folder.parent}\n" in ending
    assert "--resume done" in ending
    assert "Traceback" not in output
    assert "INFO" not in output
    assert "A new study created" not in output


def test_resume_adds_trials_and_runs_none_again(finished, work):
    folder, _ = finished
    before, epochs = trials(folder), history(folder)
    output = run(command("--resume", "done", "--trials", 6, "--studies", folder.parent), work / "cache")
    after = trials(folder)
    assert "from the cache" in output
    assert "fitted" not in output
    assert len(after) == 6
    columns = [name for name in after if name != "on_front"]
    pd.testing.assert_frame_equal(after.loc[before.index, columns], before[columns])
    pd.testing.assert_frame_equal(history(folder).iloc[: len(epochs)], epochs)
    assert {name: len(same) for name, same in tracked(folder.parent, "done")[1].items()} == dict.fromkeys(
        ("study", "baseline", "retrained", *after.index), 1
    )


@pytest.mark.slow
@pytest.mark.parametrize("blow", ["SIGKILL", "SIGINT"])
def test_a_stopped_driver_is_continued(work, cohort, blow):
    """Finished trials stay as they are, a running one goes on from its checkpoint, nothing is doubled."""
    studies, folder = work / blow, work / blow / "hit"
    options = ("--trials", 4, "--epochs", 40, "--name", "hit", "--studies", studies)
    driver = launch(command(*options, cohort=cohort), work / "cache")
    ended = lambda: (folder / "study.json").exists() and "finished" in set(trials(folder).status)  # noqa: E731
    wait_until(ended, driver)
    wait_until(epochs_written(folder, 8), driver)
    os.killpg(driver.pid, getattr(signal, blow)) if blow == "SIGINT" else driver.kill()
    output, _ = driver.communicate(timeout=120)
    if blow == "SIGINT":
        assert driver.returncode == 130, output
        assert "--resume hit" in output
        assert "Traceback" not in output
    before, epochs = trials(folder), history(folder)
    under_way = [trial for trial in before.index[before.status == "running"] if (epochs.id == trial).sum() > 2]
    assert under_way

    run(command("--resume", "hit", "--studies", studies), work / "cache")

    after, later = trials(folder), history(folder)
    assert set(after.status) == {"finished"}
    assert len(after) == 4
    done = before.query("status == 'finished'").index
    assert (after.loc[done, "seconds"] == before.loc[done, "seconds"]).all()
    assert not later.duplicated(["id", "epoch"]).any()
    assert (later.groupby("id").size().loc[after.index] == after.epochs).all()
    for trial in under_way:
        first, again = (table[table.id == trial].reset_index(drop=True) for table in (epochs, later))
        assert again.seconds[0] == first.seconds[0]  # what came before the checkpoint was not run again
        same = first.columns.drop("seconds")
        pd.testing.assert_frame_equal(again.loc[first.index, same], first[same], check_exact=True)
    assert all(len(same) == 1 for same in tracked(studies, "hit")[1].values())
    assert all(same[0].info.status == "FINISHED" for same in tracked(studies, "hit")[1].values())


@pytest.mark.slow
def test_a_killed_worker_costs_no_trial(work, cohort):
    folder = work / "worker" / "hit"
    options = ("--trials", 3, "--epochs", 40, "--name", "hit", "--studies", work / "worker")
    driver = launch(command(*options, cohort=cohort), work / "cache")
    wait_until(epochs_written(folder, 5), driver)
    workers = [
        process
        for process in psutil.Process(driver.pid).children(recursive=True)
        if "Trainable.train" in process.name()
    ]
    workers[0].kill()
    output, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, output
    table = trials(folder)
    assert set(table.status) == {"finished"}
    assert len(table) == 3
    assert (history(folder).groupby("id").size().loc[table.index] == table.epochs).all()


def test_a_strategy_is_one_file_and_its_failure_is_one_trials(studies, work, cohort):
    """A copy of the code with a new strategy and its space, which raises for half of its domain; a trial of each."""
    code = work / "code"
    for package in ("study", "trainables", "search_spaces", "analysis"):
        shutil.copytree(ROOT / package, code / package)
    (code / "trainables/strategies/brittle.py").write_text(
        "from trainables.mechanics.labels import noisy_labels\n"
        "from trainables.mechanics.strategy import Strategy\n\n\n"
        "def brittle(mood: float = 0.0) -> Strategy:\n"
        "    calm = noisy_labels(1.0, False)\n\n"
        "    def term(step):\n"
        "        if mood > 0.5:\n"
        "            raise ValueError('bad mood')\n"
        "        return calm(step)\n\n"
        "    return Strategy(forget=term)\n"
    )
    (code / "search_spaces/brittle.py").write_text(
        "from optuna.distributions import FloatDistribution, IntDistribution\n\n"
        "from search_spaces.space import Space\n\n"
        "SPACE = Space('brittle', {'mood': FloatDistribution(0, 1), 'epochs': IntDistribution(1, 2)})\n"
    )
    halves = ("--set", "mood=0.2|0.9", "--set", "epochs=1")
    arguments = command(*halves, "--trials", 2, "--name", "b", "--studies", studies("brittle"), cohort=cohort)
    arguments[arguments.index("noisy_label")] = "brittle"
    output = run(arguments, work / "cache", cwd=code)
    table = trials(work / "brittle" / "b")
    assert dict(zip(table.mood, table.status, strict=True)) == {0.2: "finished", 0.9: "failed"}
    assert table.query("status == 'failed'").retain_dice.isna().all()
    assert not table.query("status == 'failed'").feasible.any()
    assert output.count(" failed") >= (table.status == "failed").sum()
    assert table.query("status == 'failed'").problem.str.contains("bad mood").all()
    _, runs = tracked(work / "brittle", "b")
    assert {runs[trial][0].info.status for trial in table.query("status == 'failed'").index} == {"FAILED"}


def test_a_suite_runs_every_recipe_with_every_seed_and_reports_its_horizons(studies, work, cohort):
    options = ("--horizons", "1,2", "--seeds", 1, "--references", 2, "--name", "table", "--studies", studies("suite"))
    arguments = [sys.executable, "-m", "study.run", "--space", "paper", "--cohort", f"medicalnet:{cohort}", *SMALL]
    output, folder = run([*arguments, *map(str, options)], work / "cache"), work / "suite/table"
    table, values, study = trials(folder), subjects(folder), json.loads((folder / "study.json").read_text())
    recipes = ["noisy_label", "retain_label", "max_loss", "random_encoder", "fix_decoder"]
    assert sorted(zip(table.strategy, table.seed, strict=True)) == sorted((name, 0) for name in recipes)
    assert set(table.status) == {"finished"}
    assert set(table.epochs_done) == {2}
    assert set(study["references"]) == {"baseline", "retrained", "retrained-1"}
    assert len({reference["digest"] for reference in study["references"].values()}) == 3
    assert study["references"]["retrained"]["forget_dice"] != study["references"]["retrained-1"]["forget_dice"]
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


@pytest.mark.slow
def test_a_search_for_a_retrained_models_dice_with_a_fixed_knob(work, cohort):
    options = ("--trials", 3, "--objective", "retrain", "--set", "forget=ascent", "--name", "near")
    arguments = command(*options, "--studies", work / "near", cohort=cohort)
    arguments[arguments.index("noisy_label")] = "mechanics"
    output = run(arguments, work / "cache")
    folder = work / "near/near"
    table = trials(folder)
    assert len(table) == 3
    assert set(table.forget) == {"ascent"}
    assert "noise_rate" not in table  # what only other choices have is not searched
    assert (table.moves.isna() == (table.retain == "features")).all()
    feasible = table.query("feasible")
    if len(feasible):
        assert f"best feasible   {feasible.retrain_gap.idxmin()}" in output
        assert table.on_front[feasible.retrain_gap.idxmin()]
    for trial in table.query("on_front").index:
        knobs = json.loads((folder / "front" / trial / "config.json").read_text())["knobs"]
        assert set(knobs) == {name for name in knobs if pd.notna(table.loc[trial, name])}
