import shutil
import sqlite3

import pytest
from mlflow import MlflowClient

from study.recording import tracker as tracking
from study.recording.run_contents import PARENT
from study.records.tables import trials_table
from study.sync import main

FAMILY = "noisy_label-medicalnet"


@pytest.fixture
def mine(done, tmp_path):
    """A copy of the study that has run, with the store that it wrote."""
    return done.copied(tmp_path)


@pytest.fixture
def lost(mine, _empty_store):
    """The same with an empty store in place of its own."""
    shutil.copy(_empty_store, mine.studies / "mlflow.db")
    return mine


def held_by(uri):
    """All that a store holds of the study: by run what it is, has and measured, every point that was ever written."""
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(FAMILY).experiment_id])
    names = {run.info.run_id: run.data.tags["name"] for run in runs}
    assert len(set(names.values())) == len(runs), "a run was made twice"
    return {
        names[run.info.run_id]: {
            "status": run.info.status,
            "params": run.data.params,
            "tags": {**run.data.tags, "mlflow.parentRunId": names.get(run.data.tags.get("mlflow.parentRunId"))},
            "metrics": {
                key: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, key))
                for key in run.data.metrics
            },
            "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
        }
        for run in runs
    }


def dump(file):
    """The tables of a store, row by row."""
    with sqlite3.connect(file) as store:
        return {
            name: sorted(map(repr, store.execute(f"SELECT * FROM {name}")))
            for name in ("runs", "metrics", "latest_metrics", "params", "tags", "experiments")
        }


def test_a_store_that_is_gone_is_filled_again_as_the_study_had_filled_it(done, lost, capsys):
    database = lost.studies / "mlflow.db"
    assert main(["s", "--studies", str(lost.studies)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"2 trials of s are in sqlite:///{database}"]
    held = held_by(f"sqlite:///{database}")
    assert held == held_by(f"sqlite:///{done.studies / 'mlflow.db'}")
    assert set(held) == {PARENT, "baseline", "retrained", "retrained-1", "retrained-2", *done.trials.index}
    assert held[done.front]["status"] == held[PARENT]["status"] == "FINISHED"
    tables = {"trials", "history", "subjects", "references", "requests"}
    assert {"study.json", "pareto.html", *tables} <= set(held[PARENT]["files"])
    before = dump(database)
    assert main(["s", "--studies", str(lost.studies)]) == 0
    assert dump(database) == before


@pytest.mark.slow
def test_a_store_that_is_gone_gets_the_evidence_too(examined, store, tmp_path):
    mine = examined.copied(tmp_path)
    assert main(["s", "--studies", str(mine.studies), "--tracking-uri", store]) == 0
    held = held_by(store)
    assert held[examined.front]["metrics"]["evidence/relearn_steps"]
    before = held_by(f"sqlite:///{examined.studies / 'mlflow.db'}")
    assert {name: run["metrics"] for name, run in held.items()} == {
        name: run["metrics"] for name, run in before.items()
    }


def test_nothing_is_sent_where_nothing_is_lacking(mine):
    before = dump(mine.studies / "mlflow.db")
    assert main(["s", "--studies", str(mine.studies)]) == 0
    assert dump(mine.studies / "mlflow.db") == before


@pytest.mark.slow
def test_another_store_gets_the_study_too(mine, tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["s", "--studies", str(mine.studies), "--tracking-uri", store]) == 0
    assert held_by(store) == held_by(f"sqlite:///{mine.studies / 'mlflow.db'}")


@pytest.mark.slow
def test_a_study_that_was_interrupted_is_sent_as_it_stands(lost):
    table = trials_table(lost.folder, {"noise_rate": float, "forget_weight": float, "lr": float, "epochs": int})
    table.upsert({**row, "status": "running"} for row in table.rows if row["id"] == lost.other)
    assert main(["s", "--studies", str(lost.studies)]) == 0
    after = held_by(f"sqlite:///{lost.studies / 'mlflow.db'}")
    statuses = [after[name]["status"] for name in (lost.other, PARENT, lost.front)]
    assert statuses == ["KILLED", "KILLED", "FINISHED"]
    assert [step for step, _ in after[lost.other]["metrics"]["training/loss"]] == [1, 2, 3]


def test_a_study_that_is_not_there_is_one_clear_error(tmp_path, capsys):
    assert main(["nobody", "--studies", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: no study 'nobody' in {tmp_path}; there are none"
    assert not list(tmp_path.iterdir())


def test_a_study_that_is_running_is_refused_and_its_owner_named(lost, holder, capsys):
    process, before = holder(lost.folder), dump(lost.studies / "mlflow.db")
    assert main(["s", "--studies", str(lost.studies)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"study 's' is being run by process {process.pid} on " in line
    assert dump(lost.studies / "mlflow.db") == before


def test_a_server_that_is_not_there_is_told_and_leaves_the_records(mine, closed_port, capsys, monkeypatch):
    monkeypatch.setattr(tracking, "_PATIENCE", 0.5)
    before = {path: path.read_bytes() for path in mine.folder.rglob("*.parquet")}
    uri = f"http://127.0.0.1:{closed_port}"
    assert main(["s", "--studies", str(mine.studies), "--tracking-uri", uri]) == 1
    said = capsys.readouterr()
    assert f"trials of s are in {uri}" not in said.out
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert str(closed_port) in line
    assert {path: path.read_bytes() for path in mine.folder.rglob("*.parquet")} == before
