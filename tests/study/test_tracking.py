import socket
import threading
import time

import pytest
from mlflow import MlflowClient

from study.tracking import PARENT, Tracker

FAMILY = "noisy_label-phantom"


@pytest.fixture
def track(store, tmp_path):
    """Runs calls through a tracker of a study, waits, and expects no problem."""

    def run(*calls, study="study-1"):
        tracker = Tracker(store, FAMILY, study, tmp_path / "art efacts")
        tracker.start(PARENT, {"seed": 0}, {})
        for name, *arguments in calls:
            getattr(tracker, name)(*arguments)
        tracker.close()
        assert tracker.problem is None

    return run


def test_trials_are_children_of_their_study_with_params_tags_and_status(track, store, runs_in):
    track(
        ("start", "trial-1", {"lr": 1e-3, "resample": True}, {"strategy": "noisy_label"}),
        ("tag", "trial-1", {"feasible": True, "on_front": False, "status": "finished"}),
        ("end", "trial-1", "FINISHED"),
        ("start", "trial-2", {}, {}),
        ("end", "trial-2", "FAILED"),
    )
    runs = runs_in(store, FAMILY)
    parent, first, second = (runs[name] for name in (PARENT, "trial-1", "trial-2"))
    assert parent.data.params == {"seed": "0"}
    assert parent.info.run_name == "study-1"
    assert "mlflow.parentRunId" not in parent.data.tags
    assert first.data.tags["mlflow.parentRunId"] == second.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert first.info.run_name == "trial-1"
    assert first.data.params == {"lr": "0.001", "resample": "True"}
    tags = {
        "study": "study-1",
        "strategy": "noisy_label",
        "feasible": "true",
        "on_front": "false",
        "status": "finished",
    }
    assert first.data.tags.items() >= tags.items()
    assert (parent.info.status, first.info.status, second.info.status) == ("RUNNING", "FINISHED", "FAILED")


def test_metrics_have_the_epoch_as_step(track, store, runs_in, steps_in):
    rows = [{"epoch": 1, "dice": 0.5}, {"epoch": 2, "dice": float("nan"), "note": "text"}, {"epoch": 3, "dice": None}]
    track(("start", "t", {}, {}), ("log", "t", rows[:1]), ("log", "t", rows[1:]))
    run = runs_in(store, FAMILY)["t"]
    (first, second) = steps_in(store, run, "dice")
    assert first == (1, 0.5)
    assert (second[0], second[1] != second[1]) == (2, True)
    assert steps_in(store, run, "epoch") == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert "note" not in run.data.metrics


def test_more_rows_than_one_request_takes_are_all_logged(track, store, runs_in, steps_in):
    rows = [{"epoch": epoch, "a": epoch / 2, "b": -1.0} for epoch in range(1, 701)]
    track(("start", "t", {}, {}), ("log", "t", rows))
    run = runs_in(store, FAMILY)["t"]
    assert steps_in(store, run, "a") == [(epoch, epoch / 2) for epoch in range(1, 701)]
    assert len(steps_in(store, run, "b")) == 700


def test_artifacts_lie_in_the_folder_of_the_experiment(track, store, runs_in, tmp_path):
    (tmp_path / "pareto.html").write_text("<p>front")
    track(("attach", PARENT, tmp_path / "pareto.html"))
    run = runs_in(store, FAMILY)[PARENT]
    (copy,) = (tmp_path / "art efacts").rglob("pareto.html")
    assert copy.read_text() == "<p>front"
    assert [entry.path for entry in MlflowClient(store).list_artifacts(run.info.run_id)] == ["pareto.html"]


def test_a_second_session_goes_on_with_the_same_runs_and_logs_no_epoch_twice(track, store, runs_in, steps_in):
    epochs = [{"epoch": epoch, "dice": epoch / 10} for epoch in range(1, 6)]
    track(("start", "t", {"lr": 1}, {"status": "running"}), ("log", "t", epochs[:3]), ("end", "t", "KILLED"))
    before = runs_in(store, FAMILY)
    assert before["t"].info.status == "KILLED"
    track(("start", "t", {"lr": 1}, {"status": "running"}), ("log", "t", epochs))
    after = runs_in(store, FAMILY)
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: run.info.run_id for name, run in before.items()
    }
    assert after["t"].info.status == "RUNNING"
    assert steps_in(store, after["t"], "dice") == [(row["epoch"], row["dice"]) for row in epochs]


def test_studies_of_a_family_share_an_experiment_and_nothing_else(track, store):
    for study in ("study-1", "study-2"):
        track(("start", "t", {}, {}), ("log", "t", [{"epoch": 1, "dice": 0.5}]), study=study)
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name(FAMILY).experiment_id])
    assert sorted((run.data.tags["study"], run.data.tags["name"]) for run in runs) == [
        ("study-1", "study"),
        ("study-1", "t"),
        ("study-2", "study"),
        ("study-2", "t"),
    ]
    assert all(run.data.metrics["dice"] == 0.5 for run in runs if run.data.tags["name"] == "t")


def test_an_unreachable_server_holds_nobody_up_and_the_problem_says_why(closed_port, tmp_path):
    tracker = Tracker(f"http://127.0.0.1:{closed_port}", FAMILY, "s", None)
    (tmp_path / "file").write_text("")
    started = time.monotonic()
    tracker.start(PARENT, {}, {})
    for epoch in range(1, 2001):
        tracker.log(PARENT, [{"epoch": epoch, "dice": 0.5}])
    tracker.attach(PARENT, tmp_path / "file")
    tracker.end(PARENT, "FINISHED")
    assert time.monotonic() - started < 1
    tracker.close()
    assert time.monotonic() - started < 15
    assert str(closed_port) in tracker.problem
    assert "Connection refused" in tracker.problem
    assert "\n" not in tracker.problem


def test_a_server_that_never_answers_holds_nobody_up_however_much_there_is_to_log():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracker = Tracker(f"http://127.0.0.1:{silent.getsockname()[1]}", FAMILY, "s", None)
        calls = threading.Thread(target=lambda: [tracker.tag("t", {}) for _ in range(10_100)], daemon=True)
        calls.start()
        calls.join(3)
        assert not calls.is_alive()


def test_what_follows_a_failure_is_dropped_and_the_first_reason_kept(store, tmp_path, runs_in):
    tracker = Tracker(store, FAMILY, "s", tmp_path / "artifacts")
    tracker.start(PARENT, {}, {})
    tracker.attach(PARENT, tmp_path / "gone.html")
    tracker.log("never started", [{"epoch": 1, "dice": 0.5}])
    tracker.tag(PARENT, {"later": 1})
    tracker.close()
    assert "gone.html" in tracker.problem
    assert "later" not in runs_in(store, FAMILY)[PARENT].data.tags


def test_measurements_have_no_step_and_what_is_no_finite_number_is_left_out(track, store, runs_in, steps_in):
    values = {"auc": 0.75, "steps": 3, "remembers": True, "exposed": False}
    nothing = {"text": "abc", "none": None, "nan": float("nan"), "never": float("inf"), "below": -float("inf")}
    track(("start", "t", {}, {}), ("measure", "t", nothing), ("measure", "t", {**values, **nothing}))
    run = runs_in(store, FAMILY)["t"]
    assert run.data.metrics == {"auc": 0.75, "steps": 3.0, "remembers": 1.0, "exposed": 0.0}
    assert steps_in(store, run, "auc") == [(0, 0.75)]


def test_a_later_measurement_is_the_one_that_counts_and_epochs_go_on_beside_it(track, store, runs_in, steps_in):
    track(("start", "t", {}, {}), ("log", "t", [{"epoch": 1, "dice": 0.5}]), ("measure", "t", {"auc": 0.75}))
    track(("measure", "t", {"auc": 0.25}), ("log", "t", [{"epoch": 1, "dice": 0.5}, {"epoch": 2, "dice": 0.75}]))
    run = runs_in(store, FAMILY)["t"]
    assert (run.data.metrics["auc"], steps_in(store, run, "dice")) == (0.25, [(1, 0.5), (2, 0.75)])
