import shutil
import sqlite3

import pytest
from mlflow import MlflowClient

from study.recording import tracker as tracking
from study.recording.tracker import PARENT
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


def told(uri):
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
    before = told(f"sqlite:///{done.studies / 'mlflow.db'}")
    assert main(["s", "--studies", str(lost.studies)]) == 0
    store = f"sqlite:///{lost.studies / 'mlflow.db'}"
    assert capsys.readouterr().out.splitlines() == [f"2 trials of s are in {store}"]
    after = told(store)
    assert set(after) == {PARENT, "baseline", "retrained", "retrained-1", "retrained-2", *done.trials.index}
    for name, found in before.items():
        assert after[name] == found, name
    assert after[done.front]["status"] == after[PARENT]["status"] == "FINISHED"
    assert after[done.front]["metrics"]["evidence/relearn_steps"]
    assert "study.json" in after[PARENT]["files"]


def test_a_second_call_changes_nothing(lost):
    assert main(["s", "--studies", str(lost.studies)]) == 0
    before = dump(lost.studies / "mlflow.db")
    assert len(before["metrics"]) > 500
    assert main(["s", "--studies", str(lost.studies)]) == 0
    assert dump(lost.studies / "mlflow.db") == before


def test_nor_does_a_call_where_nothing_is_lacking(mine):
    before = dump(mine.studies / "mlflow.db")
    assert main(["s", "--studies", str(mine.studies)]) == 0
    assert dump(mine.studies / "mlflow.db") == before


def test_another_store_gets_the_study_too(mine, tmp_path, store, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["s", "--studies", str(mine.studies), "--tracking-uri", store]) == 0
    first, second = told(f"sqlite:///{mine.studies / 'mlflow.db'}"), told(store)
    assert second == first


def test_a_study_that_was_interrupted_is_sent_as_it_stands(lost):
    table = trials_table(lost.folder, {"noise_rate": float, "forget_weight": float, "lr": float, "epochs": int})
    table.upsert({**row, "status": "running"} for row in table.rows if row["id"] == lost.other)
    assert main(["s", "--studies", str(lost.studies)]) == 0
    after = told(f"sqlite:///{lost.studies / 'mlflow.db'}")
    assert (after[lost.other]["status"], after[PARENT]["status"], after[lost.front]["status"]) == (
        "KILLED",
        "KILLED",
        "FINISHED",
    )
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
