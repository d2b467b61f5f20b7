"""The pages' server side, in the app that `mlflow server --app-name lethe` serves, on a real MLflow store."""

import io
import json
from importlib.metadata import entry_points

import mlflow
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from mlflow import MlflowClient

from analysis.figures.front import front_figure
from analysis.statistics.plane import hypervolume
from analysis.ui.payload import running_hypervolume
from study.records.reading import load_study
from study.records.table import JOURNAL


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("LETHE_STUDIES", str(tmp_path))
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    (point,) = (one for one in entry_points(group="mlflow.app") if one.name == "lethe")
    return TestClient(point.load(), base_url="http://localhost")


def test_the_front_is_what_the_tables_say(client, folder, rows):
    folder(*rows)
    answer = client.get("/lethe/api/studies/study")
    told = answer.json()
    assert told["columns"]["id"] == [row["id"] for row in rows]
    for name in ("retain_dice", "forget_dice", "lr", "feasible", "on_front", "status"):
        expected = [bool(row[name]) if name in ("feasible", "on_front") else row[name] for row in rows]
        assert told["columns"][name] == expected
    assert told["best"] == "best"
    assert (
        client.get("/lethe/api/studies/study", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    )


def test_the_figure_is_the_one_of_the_written_page(client, folder, rows):
    path = folder(*rows)
    answer = client.get("/lethe/api/studies/study/figure")
    assert answer.json() == json.loads(front_figure(load_study(path)).to_json())
    choice = {"x": "seconds", "y": "dice_gap", "colour": "lr", "beside": ["study", "study"]}
    other = client.get("/lethe/api/studies/study/figure", params=choice)
    assert other.json() == json.loads(
        front_figure(load_study(path), "seconds", "dice_gap", "lr", [load_study(path)] * 2).to_json()
    )
    etags = [one.headers["etag"] for one in (answer, other)]
    again = [
        client.get("/lethe/api/studies/study/figure", params=choice, headers={"If-None-Match": etag}).status_code
        for etag in etags
    ]
    assert again == [200, 304]
    folder(rows[0] | {"id": "late"})
    changed = client.get("/lethe/api/studies/study/figure", params=choice, headers={"If-None-Match": etags[1]})
    assert changed.status_code == 200


@pytest.mark.parametrize("choice", [{"x": "nothing"}, {"y": "id"}, {"colour": "nothing"}, {"beside": "nobody"}])
def test_a_figure_of_what_is_not_there_is_not_found(choice, client, folder, rows):
    folder(*rows)
    assert client.get("/lethe/api/studies/study/figure", params=choice).status_code == 404


def test_a_damaged_table_is_said_to_be_damaged(client, folder, rows):
    path = folder(*rows)
    (path / "trials" / JOURNAL).write_text("{\n")
    answer = client.get("/lethe/api/studies/study")
    assert answer.status_code == 500
    assert "damaged in line 1" in answer.json()["detail"]


@pytest.mark.slow
def test_a_trial_leads_to_its_run_in_mlflow(client, folder, rows, tmp_path):
    folder(*rows)
    store = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = store.create_experiment("noisy_label-phantom")
    store.create_run(experiment, tags={"study": "another", "name": "best"})
    run = store.create_run(experiment, tags={"study": "study", "name": "best"}).info.run_id
    answer = client.get("/lethe/api/studies/study/runs/best", follow_redirects=False)
    assert answer.headers["location"] == f"/#/experiments/{experiment}/runs/{run}?workflowType=machine_learning"
    missing = client.get("/lethe/api/studies/study/runs/good", follow_redirects=False)
    assert (missing.status_code, "study.sync study" in missing.json()["detail"]) == (404, True)
    assert client.get("/lethe/api/studies/study/runs/x' or '1'='1", follow_redirects=False).status_code == 404


def test_pictures_are_shown_where_there_are_some_and_nothing_else_is(client, folder, rows):
    drawn = folder(*rows) / "pictures" / "best"
    assert client.get("/lethe/api/studies/study").json()["pictures"] == []
    drawn.mkdir(parents=True)
    (drawn / "index.html").write_text("<p>seen</p>")
    assert client.get("/lethe/api/studies/study").json()["pictures"] == ["best"]
    pictures = "/lethe/api/studies/study/pictures"
    assert client.get(f"{pictures}/best/index.html").text == "<p>seen</p>"
    for path in ("best/none.png", "../study.json", "..%2f..%2fstudy/study.json", "%2e%2e/study.json"):
        assert client.get(f"{pictures}/{path}").status_code == 404


def test_new_trials_are_there_at_the_next_look(client, folder, trial):
    folder(trial("a", 0.75, 0.25, feasible=True, on_front=True))
    state = client.get("/lethe/api/studies/study").headers["etag"]
    folder(trial("b", 0.76, 0.2, feasible=True, on_front=True))
    answer = client.get("/lethe/api/studies/study", headers={"If-None-Match": state})
    assert (answer.status_code, answer.json()["columns"]["id"]) == (200, ["a", "b"])


def test_the_list_has_every_study_and_says_which_is_damaged(client, folder, rows, tmp_path):
    folder(*rows)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.json").write_text("{")
    found = {one["name"]: one for one in client.get("/lethe/api/studies").json()}
    assert set(found) == {"study", "broken"}
    assert "damaged" in found["broken"]["problem"]
    study = found["study"]
    assert (study["trials"], study["running"], study["front"]) == (8, 1, 3)
    assert study["best_gap"] == pytest.approx(0.65)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_table_can_be_taken_away(kind, client, folder, rows):
    folder(*rows)
    answer = client.get(f"/lethe/api/studies/study/trials.{kind}")
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet}[kind]
    table = read(io.BytesIO(answer.content))
    assert list(table.id) == [row["id"] for row in rows]
    assert f"study.{kind}" in answer.headers["content-disposition"]


@pytest.mark.parametrize("path", ["", "study", "static/front.js", "static/style.css", "static/plotly.min.js"])
def test_pages_and_their_files_are_served_from_here(path, client, folder, rows):
    folder(*rows)
    answer = client.get(f"/lethe/{path}")
    assert answer.status_code == 200
    assert "//cdn" not in answer.text.split("\n", 1)[0][:2000]


@pytest.mark.parametrize(
    "path", ["nobody", "api/studies/nobody", "api/studies/..", "static/app.py", "static/nothing.js"]
)
def test_what_is_not_there_is_not_found(path, client, folder, rows):
    folder(*rows)
    assert client.get(f"/lethe/{path}").status_code == 404


def test_mlflow_goes_on_as_before_under_its_own_protections(client):
    assert client.get("/health").text == "OK"
    assert client.get("/lethe/", headers={"Host": "evil.example"}).status_code == 403
    crossing = {"Origin": "http://evil.example", "Content-Type": "application/json"}
    assert client.post("/api/2.0/mlflow/experiments/search", json={}, headers=crossing).status_code == 403


def test_the_running_hypervolume_is_that_of_all_feasible_trials_so_far(trial):
    rng = np.random.default_rng(0)
    rows = [trial(str(i), *rng.uniform(size=2), feasible=bool(rng.uniform() < 0.7)) for i in range(60)]
    for count, volume in enumerate(running_hypervolume(rows), 1):
        kept = [row for row in rows[:count] if row["feasible"]]
        whole = hypervolume(*(np.array([row[name] for row in kept]) for name in ("retain_dice", "forget_dice")))
        assert volume == pytest.approx(whole)
