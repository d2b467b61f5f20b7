import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from study.recording import tracker as tracking
from study.recording.tracker import PARENT, Tracker

FAMILY = "noisy_label-phantom"


class Server:
    """A real MLflow server in a process group of its own; `store` is what it keeps, for reading past it."""

    def __init__(self, folder, empty):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{self.port}", folder
        self.store = f"sqlite:///{shutil.copy(empty, folder / 'server.db')}"
        self.start()

    def start(self):
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        options += ["--backend-store-uri", self.store, "--artifacts-destination", str(self.folder / "artifacts")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health").read()
                return
            assert time.monotonic() < end
            assert self.process.poll() is None
            time.sleep(0.1)

    def signal(self, number):
        os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()


class Line:
    """A line to a server that can be cut (`gone`), or bring requests there and no answer back (`deaf`)."""

    def __init__(self, port):
        self._port, self.state = port, "up"
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self._socket.accept()
            if self.state == "gone":
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._carry, args=(near, far, "gone"), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, "deaf"), daemon=True).start()

    def _carry(self, source, sink, cut):
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                if self.state in ("gone", cut):
                    break
                sink.sendall(content)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory, _empty_store):
    running = Server(tmp_path_factory.mktemp("server"), _empty_store)
    yield running
    running.signal(signal.SIGKILL)


@pytest.fixture
def line(server):
    return Line(server.port)


@pytest.fixture
def open_tracker(request):
    """Starts a tracker of a study that has the test's name, with its parent run; `heard` is what it tells."""

    def start(uri, artifacts=None, experiment=FAMILY, study=request.node.name):
        tracker = Tracker(uri, experiment, study, artifacts, (heard := []).append)
        tracker.start(PARENT, {"seed": 0}, {})
        tracker.heard = heard
        return tracker

    return start


@pytest.fixture
def track(store, tmp_path, open_tracker):
    """Runs calls through a tracker of a study, waits, and expects no problem."""

    def run(*calls, study="study-1"):
        tracker = open_tracker(store, tmp_path / "art efacts", study=study)
        for name, *arguments in calls:
            getattr(tracker, name)(*arguments)
        tracker.close()
        assert tracker.problem is None
        assert tracker.heard == []

    return run


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def points(store, study, experiment=FAMILY):
    """Run name -> metric -> the (step, value) pairs that the store holds, every one that was ever written."""
    client = MlflowClient(store)
    family = client.get_experiment_by_name(experiment)
    found = client.search_runs([family.experiment_id], f"tags.study = '{study}'") if family else []
    assert len({run.data.tags["name"] for run in found}) == len(found), "a run was made twice"
    return {
        run.data.tags["name"]: {
            key: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        }
        for run in found
    }


def epochs(first, last):
    return [{"epoch": epoch, "dice": epoch / 16} for epoch in range(first, last + 1)]


def dice(first, last):
    return [(epoch, epoch / 16) for epoch in range(first, last + 1)]


def test_trials_are_children_of_their_study_with_params_tags_and_status(track, store, runs_in):
    track(
        ("start", "trial-1", {"lr": 1e-3, "resample": True}, {"strategy": "noisy_label"}),
        ("tag", "trial-1", {"feasible": True, "on_front": False, "status": "finished"}),
        ("end", "trial-1", "FINISHED"),
        ("start", "trial-2", {}, {}),
        ("end", "trial-2", "FAILED"),
        ("start", "trial-3", {}, {}, "KILLED"),
    )
    runs = runs_in(store, FAMILY)
    parent, first, second, third = (runs[name] for name in (PARENT, "trial-1", "trial-2", "trial-3"))
    experiment = MlflowClient(store).get_experiment(parent.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
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
    assert third.info.status == "KILLED"
    assert third.info.end_time is not None


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


@pytest.mark.parametrize("number", [2, 3])
def test_an_epoch_is_sent_whole_or_not_at_all(store, open_tracker, tmp_path, monkeypatch, request, number):
    """Else, when sending fails between two requests, the rest of it would count as sent."""
    take, taken = SqlAlchemyStore.log_batch, []

    def fail_once(keeper, run_id, metrics, params, tags):
        taken.append(len(metrics))
        if sum(map(bool, taken)) == number:
            raise ConnectionError("cut")
        take(keeper, run_id, metrics, params, tags)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", fail_once)
    tracker = open_tracker(store, tmp_path / "artifacts")
    tracker.start("t", {f"knob-{name}": name for name in range(50)}, {"kind": "trial"})
    tracker.log("t", [{"epoch": epoch, "a": epoch / 2, "b": epoch / 4} for epoch in range(1, 801)])
    tracker.close()
    assert (tracker.problem, len(tracker.heard)) == (None, 2)
    found = points(store, request.node.name)["t"]
    assert found["a"] == [(epoch, epoch / 2) for epoch in range(1, 801)]
    assert found["b"] == [(epoch, epoch / 4) for epoch in range(1, 801)]


def test_artifacts_lie_in_the_folder_of_the_experiment(track, store, runs_in, tmp_path):
    (tmp_path / "pareto.html").write_text("<p>front")
    track(("attach", PARENT, tmp_path / "pareto.html"))
    run = runs_in(store, FAMILY)[PARENT]
    (copy,) = (tmp_path / "art efacts").rglob("pareto.html")
    assert copy.read_text() == "<p>front"
    assert [entry.path for entry in MlflowClient(store).list_artifacts(run.info.run_id)] == ["pareto.html"]


def test_a_second_session_goes_on_with_the_same_runs_and_logs_no_epoch_twice(track, store, runs_in):
    track(("start", "t", {"lr": 1}, {"status": "running"}), ("log", "t", epochs(1, 3)), ("end", "t", "KILLED"))
    before = runs_in(store, FAMILY)
    assert before["t"].info.status == "KILLED"
    track(("start", "t", {"lr": 1}, {"status": "running"}), ("log", "t", epochs(1, 5)))
    after = runs_in(store, FAMILY)
    assert {name: run.info.run_id for name, run in after.items()} == {
        name: run.info.run_id for name, run in before.items()
    }
    assert after["t"].info.status == "RUNNING"
    assert points(store, "study-1")["t"]["dice"] == dice(1, 5)


def test_what_has_been_sent_is_not_sent_again_in_the_same_session(store, open_tracker, tmp_path, request):
    tracker = open_tracker(store, tmp_path / "artifacts")
    tracker.log("t", epochs(1, 3))
    tracker.measure("t", {"auc": 0.75})
    wait_until(lambda: "auc" in points(store, request.node.name).get("t", {}))
    tracker.measure("t", {"auc": 0.75})
    tracker.log("t", epochs(2, 4))
    tracker.log("t", epochs(3, 5))
    tracker.log_lacking("t", 5, lambda: epochs(1, 5))
    tracker.close()
    assert tracker.problem is None
    found = points(store, request.node.name)["t"]
    assert (found["dice"], found["auc"]) == (dice(1, 5), [(0, 0.75)])


def test_rows_are_only_read_where_epochs_are_lacking(track, store):
    asked = []

    def rows(last):
        return lambda: asked.append(last) or epochs(1, last)

    track(("start", "t", {}, {}), ("log_lacking", "t", 3, rows(3)), ("log", "t", epochs(4, 4)))
    track(("start", "t", {}, {}), ("log_lacking", "t", 4, rows(4)))
    assert asked == [3]
    track(("log_lacking", "t", 6, rows(6)), ("log_lacking", "none", 0, rows(0)))
    assert asked == [3, 6]
    assert points(store, "study-1")["t"]["dice"] == dice(1, 6)


def test_studies_of_a_family_share_an_experiment_and_nothing_else(track, store):
    for study in ("study-1", "study-2"):
        track(("start", "t", {}, {}), ("log", "t", epochs(1, 1)), study=study)
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name(FAMILY).experiment_id])
    assert sorted((run.data.tags["study"], run.data.tags["name"]) for run in runs) == [
        ("study-1", "study"),
        ("study-1", "t"),
        ("study-2", "study"),
        ("study-2", "t"),
    ]
    assert all(run.data.metrics["dice"] == 1 / 16 for run in runs if run.data.tags["name"] == "t")


def test_another_study_may_make_the_experiment_first(store, open_tracker, tmp_path, monkeypatch, request):
    look, rivals = MlflowClient.get_experiment_by_name, []

    def look_and_be_late(client, name):
        found = look(client, name)
        if not rivals:
            rivals.append(MlflowClient(store).create_experiment(name))
        return found

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", look_and_be_late)
    tracker = open_tracker(store, tmp_path / "artifacts")
    tracker.log("t", epochs(1, 2))
    tracker.close()
    assert (tracker.problem, tracker.heard, len(rivals)) == (None, [], 1)
    assert points(store, request.node.name)["t"]["dice"] == dice(1, 2)


def test_measurements_have_no_step_and_what_is_no_finite_number_is_left_out(track, store, runs_in, steps_in):
    values = {"auc": 0.75, "steps": 3, "remembers": True, "exposed": False}
    nothing = {"text": "abc", "none": None, "nan": float("nan"), "never": float("inf"), "below": -float("inf")}
    track(("start", "t", {}, {}), ("measure", "t", nothing), ("measure", "t", {**values, **nothing}))
    run = runs_in(store, FAMILY)["t"]
    assert run.data.metrics == {"auc": 0.75, "steps": 3.0, "remembers": 1.0, "exposed": 0.0}
    assert steps_in(store, run, "auc") == [(0, 0.75)]


def test_the_same_measurement_is_sent_once_and_a_later_one_is_the_one_that_counts(track, store, runs_in):
    track(("start", "t", {}, {}), ("log", "t", epochs(1, 1)), ("measure", "t", {"auc": 0.75}))
    track(("measure", "t", {"auc": 0.75}))
    assert points(store, "study-1")["t"]["auc"] == [(0, 0.75)]
    track(("measure", "t", {"auc": 0.25}), ("log", "t", epochs(1, 2)))
    assert runs_in(store, FAMILY)["t"].data.metrics["auc"] == 0.25
    assert points(store, "study-1")["t"]["dice"] == dice(1, 2)


def test_an_unreachable_server_holds_nobody_up_and_the_problem_says_why(
    closed_port, tmp_path, monkeypatch, open_tracker
):
    monkeypatch.setattr(tracking, "_PATIENCE", 2.0)
    tracker = open_tracker(f"http://127.0.0.1:{closed_port}")
    (tmp_path / "file").write_text("")
    took = []
    for first in (1, 2001, 4001):
        started = time.monotonic()
        for row in epochs(first, first + 1999):
            tracker.log(PARENT, [row])
        tracker.attach(PARENT, tmp_path / "file")
        tracker.end(PARENT, "FINISHED")
        took.append(time.monotonic() - started)
    assert min(took) < 1  # a busy machine may stop for a second in one of them
    wait_until(lambda: tracker.heard)
    closing = time.monotonic()
    tracker.close()
    assert time.monotonic() - closing < 6
    (told,) = tracker.heard
    for said in (told, tracker.problem):
        assert str(closed_port) in said
        assert "Connection refused" in said
        assert "\n" not in said


def test_a_server_has_all_that_a_study_says_and_the_terminal_nothing(
    server, open_tracker, tmp_path, runs_in, request, capfd
):
    tracker = open_tracker(server.uri)
    (tmp_path / "pareto.html").write_text("<p>front")
    tracker.start("t", {"lr": 1e-3}, {"status": "running"})
    tracker.log("t", epochs(1, 3))
    tracker.measure("t", {"auc": 0.75})
    tracker.attach(PARENT, tmp_path / "pareto.html")
    tracker.end("t", "KILLED")
    tracker.end(PARENT, "FINISHED")
    tracker.close()
    assert (tracker.problem, tracker.heard) == (None, [])
    assert capfd.readouterr().out == ""
    runs = runs_in(server.store, FAMILY)
    assert (runs[PARENT].info.status, runs["t"].info.status) == ("FINISHED", "KILLED")
    assert points(server.store, request.node.name)["t"] == {
        "dice": dice(1, 3),
        "epoch": [(1, 1), (2, 2), (3, 3)],
        "auc": [(0, 0.75)],
    }
    assert [file.path for file in MlflowClient(server.uri).list_artifacts(runs[PARENT].info.run_id)] == [
        "pareto.html"
    ]


def test_a_server_killed_and_started_again_in_the_middle_loses_nothing(server, open_tracker, request, tmp_path):
    study = request.node.name
    tracker = open_tracker(server.uri, experiment="killed")
    tracker.log("t", epochs(1, 40))
    wait_until(lambda: MlflowClient(server.store).get_experiment_by_name("killed"))
    server.signal(signal.SIGKILL)
    (tmp_path / "page.html").write_text("<p>")
    tracker.log("t", epochs(41, 60))
    tracker.measure("t", {"auc": 0.75})
    tracker.log("later", epochs(1, 5))
    tracker.attach("later", tmp_path / "page.html")
    wait_until(lambda: tracker.heard and tracker.problem)
    server.start()
    tracker.log("t", epochs(61, 61))
    tracker.end("t", "FINISHED")
    tracker.close()
    assert tracker.problem is None
    failed, again = tracker.heard
    assert failed.startswith("MLflow cannot be written, trying again: ")
    assert again == "MLflow can be written again"
    found = points(server.store, study, "killed")
    assert (found["t"]["dice"], found["t"]["auc"], found["later"]["dice"]) == (dice(1, 61), [(0, 0.75)], dice(1, 5))


@pytest.mark.parametrize("changes", [20, 10_100])
def test_a_server_that_hangs_holds_up_neither_calls_nor_the_end(server, open_tracker, monkeypatch, changes, request):
    monkeypatch.setattr(tracking, "_PATIENCE", 2.0)
    tracker = open_tracker(server.uri)
    wait_until(lambda: PARENT in points(server.store, request.node.name))
    server.signal(signal.SIGSTOP)
    try:
        started = time.monotonic()
        for number in range(changes):
            tracker.tag("t", {"number": number})
        assert time.monotonic() - started < 3
        closing = time.monotonic()
        tracker.close()
        assert 1.5 < time.monotonic() - closing < 4
        assert "no answer" in tracker.problem
    finally:
        server.signal(signal.SIGCONT)


def test_a_server_that_hung_for_a_while_gets_everything_once(server, open_tracker, monkeypatch, request):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tracker = open_tracker(server.uri)
    tracker.log("t", epochs(1, 1))
    wait_until(lambda: "t" in points(server.store, request.node.name))
    server.signal(signal.SIGSTOP)
    try:
        tracker.log("new", epochs(1, 2))
        tracker.log("t", epochs(2, 3))
        tracker.measure("t", {"auc": 0.75})
        wait_until(lambda: tracker.heard)
    finally:
        server.signal(signal.SIGCONT)
    tracker.close()
    assert (tracker.problem, len(tracker.heard)) == (None, 2)
    found = points(server.store, request.node.name)
    assert (found["t"]["dice"], found["t"]["auc"], found["new"]["dice"]) == (dice(1, 3), [(0, 0.75)], dice(1, 2))


@pytest.mark.parametrize("known", [True, False])
def test_what_was_done_though_its_answer_was_lost_is_not_done_twice(server, line, open_tracker, request, known):
    tracker = open_tracker(line.uri)
    if known:
        tracker.log("t", epochs(1, 2))
    wait_until(lambda: ("t" if known else PARENT) in points(server.store, request.node.name))
    wait_until(lambda: tracker._queue.empty())
    time.sleep(0.3)
    line.state = "deaf"
    tracker.measure("t", {"auc": 0.75})
    tracker.log("t", epochs(1, 4))
    wait_until(lambda: tracker.heard)
    line.state = "up"
    tracker.log("t", epochs(5, 5))
    tracker.close()
    assert (tracker.problem, len(tracker.heard)) == (None, 2)
    found = points(server.store, request.node.name)["t"]
    assert (found["dice"], found["auc"]) == (dice(1, 5), [(0, 0.75)])


def test_what_the_server_refuses_is_dropped_and_told_and_the_rest_goes_on(server, open_tracker, request):
    """A run that somebody has deleted takes nothing more; asking again would not change that."""
    tracker, client = open_tracker(server.uri), MlflowClient(server.store)
    tracker.log("t", epochs(1, 1))
    tracker.log("u", epochs(1, 1))
    wait_until(lambda: {"t", "u"} <= set(points(server.store, request.node.name)))
    (run,) = client.search_runs(
        [client.get_experiment_by_name(FAMILY).experiment_id],
        f"tags.study = '{request.node.name}' and tags.name = 't'",
    )
    client.delete_run(run.info.run_id)
    started = time.monotonic()
    tracker.log("t", epochs(2, 2))
    wait_until(lambda: tracker.heard)
    tracker.log("u", epochs(2, 3))
    tracker.end("t", "FINISHED")
    tracker.end("u", "FINISHED")
    tracker.close()
    assert time.monotonic() - started < 8
    assert run.info.run_id in tracker.heard[0]
    assert run.info.run_id in tracker.problem
    assert len(tracker.heard) <= 4
    assert points(server.store, request.node.name)["u"]["dice"] == dice(1, 3)


def test_a_file_that_is_gone_costs_nothing_else(store, open_tracker, tmp_path, monkeypatch, request):
    monkeypatch.setattr(tracking, "_PATIENCE", 2.0)
    tracker = open_tracker(store, tmp_path / "artifacts")
    tracker.log("t", epochs(1, 1))
    tracker.attach("t", tmp_path / "gone.html")
    tracker.log("u", epochs(1, 2))
    tracker.close()
    assert "gone.html" in tracker.problem
    assert points(store, request.node.name)["u"]["dice"] == dice(1, 2)


def test_epochs_that_found_no_room_in_the_queue_are_still_lacking_later(
    server, line, open_tracker, monkeypatch, request
):
    """Epochs that come after them must not make it look as if they were there."""
    monkeypatch.setattr(tracking, "_QUEUE_LENGTH", 20)
    tracker = open_tracker(line.uri)
    tracker.log("t", epochs(1, 2))
    wait_until(lambda: "t" in points(server.store, request.node.name))
    line.state = "gone"
    for row in epochs(3, 60):
        tracker.log("t", [row])
        wait_until(lambda: tracker.heard)
    line.state = "up"
    wait_until(lambda: len(tracker.heard) == 2)
    tracker.log("t", epochs(61, 62))
    tracker.close()
    assert tracker.problem is not None
    later = open_tracker(line.uri)
    later.log_lacking("t", 62, lambda: epochs(1, 62))
    later.close()
    assert later.problem is None
    assert points(server.store, request.node.name)["t"]["dice"] == dice(1, 62)


def test_epochs_of_a_refused_change_are_still_lacking_later(store, open_tracker, tmp_path, request):
    tracker = open_tracker(store, tmp_path / "artifacts")
    tracker.log("t", epochs(1, 2))
    wait_until(lambda: "t" in points(store, request.node.name))
    tracker.log("t", [{"epoch": 3, "dice": 3 / 16, "no metric?": 1.0}])
    wait_until(lambda: tracker.problem)
    tracker.log("t", epochs(4, 5))
    tracker.close()
    later = open_tracker(store, tmp_path / "artifacts")
    later.log_lacking("t", 5, lambda: epochs(1, 5))
    later.close()
    assert later.problem is None
    assert points(store, request.node.name)["t"]["dice"] == dice(1, 5)
