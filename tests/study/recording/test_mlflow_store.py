import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

from study.recording.mlflow_store import MlflowStore
from study.recording.run_contents import DESCRIPTION, PARENT, RUN_NAME, RunContent

FAMILY = "noisy_label-phantom"


@pytest.fixture
def open_store(store, tmp_path):
    """Looks at what MLflow has of a study, as a session does at its start."""
    return lambda study="study-1": MlflowStore(store, FAMILY, study, tmp_path / "art efacts", lambda: None)


@pytest.fixture
def points(store, runs_in, steps_in):
    """Metric -> every (step, value) that the store holds of run `t`."""

    def read():
        run = runs_in(store, FAMILY)["t"]
        return {metric: steps_in(store, run, metric) for metric in run.data.metrics}

    return read


def run(first=1, last=0, **content):
    """A run with some epochs, of a metric each."""
    epochs = [{"epoch": epoch, "dice": epoch / 16} for epoch in range(first, last + 1)]
    return RunContent(**{"status": "RUNNING", "epochs": epochs, **content})


def dice(first, last):
    return [(epoch, epoch / 16) for epoch in range(first, last + 1)]


def test_trials_are_children_of_their_study_with_params_tags_and_status(open_store, store, runs_in):
    opened = open_store()
    opened.send(PARENT, run(params={"seed": 0}))
    opened.send("t", run(params={"lr": 1e-3, "resample": True}, tags={"feasible": True, RUN_NAME: "noisy"}))
    opened.send("t", run(params={"lr": 1e-3}, tags={"feasible": False}, status="FAILED"))
    runs = runs_in(store, FAMILY)
    parent, trial = runs[PARENT], runs["t"]
    experiment = MlflowClient(store).get_experiment(parent.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert (parent.info.run_name, parent.info.status, parent.data.params) == ("study-1", "RUNNING", {"seed": "0"})
    assert "mlflow.parentRunId" not in parent.data.tags
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert trial.data.params == {"lr": "0.001", "resample": "True"}
    assert (trial.info.run_name, trial.data.tags["feasible"], trial.info.status) == ("noisy", "false", "FAILED")
    assert trial.info.end_time is not None


@pytest.mark.slow
def test_metrics_have_the_epoch_as_step_and_values_have_none(open_store, points):
    rows = [{"epoch": 1, "dice": 0.5}, {"epoch": 2, "dice": float("nan")}, {"epoch": 3}]
    open_store().send("t", run(epochs=rows, values={"auc": 0.75}))
    first, second = points()["dice"]
    assert (first, second[0], second[1] != second[1]) == ((1, 0.5), 2, True)
    assert points().keys() == {"epoch", "dice", "auc"}
    assert (points()["epoch"], points()["auc"]) == ([(1, 1.0), (2, 2.0), (3, 3.0)], [(0, 0.75)])


def test_what_is_there_is_not_sent_again(open_store, store, points, runs_in):
    opened = open_store()
    for last in (3, 5):
        opened.send("t", run(1, last, values={"auc": 0.75}))
        assert opened.epoch("t") == last
    before = runs_in(store, FAMILY)
    later = open_store()
    assert (later.epoch("t"), later.epoch("nobody")) == (5, 0)
    later.send("t", run(4, 6, values={"auc": 0.75}))
    assert (points()["dice"], points()["auc"]) == (dice(1, 6), [(0, 0.75)])
    later.send("t", run(values={"auc": 0.25}))
    after = runs_in(store, FAMILY)
    assert after["t"].data.metrics["auc"] == 0.25
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: run.info.run_id for name, run in before.items()
    }


@pytest.mark.slow
def test_more_than_one_request_takes_is_sent_all_the_same(open_store, points):
    params = {f"knob-{number}": number for number in range(90)}
    open_store().send("t", run(1, 1700, params=params, tags=params))
    assert points()["dice"] == dice(1, 1700)


def test_what_is_too_long_for_mlflow_is_shortened_visibly_and_the_rest_is_kept(open_store, store, runs_in, caplog):
    tags = {RUN_NAME: "n" * 300, DESCRIPTION: "d" * 9000, "kind": "trial"}
    open_store().send("t", run(1, 2, params={"set": "s" * 7000, "seed": 0, "fits": "f" * 6000}, tags=tags))
    data = runs_in(store, FAMILY)["t"].data
    assert data.params == {"set": "s" * 5999 + "…", "seed": "0", "fits": "f" * 6000}
    assert (data.tags[RUN_NAME], data.tags[DESCRIPTION]) == ("n" * 249 + "…", "d" * 7999 + "…")
    assert (data.tags["kind"], data.metrics["dice"]) == ("trial", 2 / 16)
    assert "truncated" not in caplog.text


def test_files_lie_in_their_folders(open_store, store, runs_in, tmp_path):
    for name in ("page.html", "00000001.parquet"):
        (tmp_path / name).write_text(name)
    files = [(tmp_path / "page.html", ""), (tmp_path / "00000001.parquet", "trials")]
    open_store().send(PARENT, run(files=files))
    client, parent = MlflowClient(store), runs_in(store, FAMILY)[PARENT].info.run_id
    assert {entry.path for entry in client.list_artifacts(parent)} == {"page.html", "trials"}
    assert [entry.path for entry in client.list_artifacts(parent, "trials")] == ["trials/00000001.parquet"]
    (copy,) = (tmp_path / "art efacts").rglob("page.html")
    assert copy.read_text() == "page.html"


def test_studies_of_a_family_share_an_experiment_and_nothing_else(open_store, store):
    for study in ("study-1", "study-2"):
        open_store(study).send("t", run(1, 1))
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name(FAMILY).experiment_id])
    names = [(run.data.tags["study"], run.data.tags["name"]) for run in runs]
    assert sorted(names) == [(study, name) for study in ("study-1", "study-2") for name in ("study", "t")]
    assert {run.data.metrics.get("dice") for run in runs if run.data.tags["name"] == "t"} == {1 / 16}


def test_another_study_may_make_the_experiment_first(open_store, store, points, monkeypatch):
    look, rivals = MlflowClient.get_experiment_by_name, []

    def look_and_be_late(client, name):
        found = look(client, name)
        if not rivals:
            rivals.append(MlflowClient(store).create_experiment(name))
        return found

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", look_and_be_late)
    open_store().send("t", run(1, 2))
    assert (points()["dice"], len(rivals)) == (dice(1, 2), 1)


def test_mlflow_reports_nothing_to_its_makers():
    assert MLFLOW_DISABLE_TELEMETRY.get()
