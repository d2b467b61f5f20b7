"""Faults of MLflow, of its server and of the line to it."""

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
from dataclasses import replace
from functools import partial

import pytest
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from study.recording import tracker as tracking
from study.recording.mlflow_store import MlflowStore
from study.recording.run_contents import PARENT, RunContent
from study.recording.tracker import Tracker

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


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine too: what waits for nothing ends sooner."""
    monkeypatch.setattr(tracking, "_PATIENCE", 60.0)


class Records:
    """What the runs of a study should have, as a test says it: the content is its state."""

    def __init__(self):
        self._runs = {PARENT: RunContent("RUNNING")}

    def put(self, name, last=0, **content):
        """A run is to have epochs up to one."""
        epochs = [{"epoch": epoch, "dice": epoch / 16} for epoch in range(1, last + 1)]
        self._runs = {**self._runs, name: RunContent(**{"status": "RUNNING", "epochs": epochs, **content})}

    def states(self, over):
        parent = self._runs[PARENT]
        return {**self._runs, PARENT: replace(parent, status="FINISHED") if over else parent}

    def contents(self, states, reached):
        return states.items()


@pytest.fixture(scope="module")
def server(tmp_path_factory, _empty_store):
    running = Server(tmp_path_factory.mktemp("server"), _empty_store)
    yield running
    running.signal(signal.SIGKILL)


@pytest.fixture
def line(server):
    return Line(server.port)


@pytest.fixture
def follow(request, tmp_path, _empty_store):
    """Starts a tracker of a study that has the test's name; `records` is what it follows, `heard` what it tells."""

    def start(uri, experiment=FAMILY):
        artifacts = None if uri.startswith("http") else tmp_path / "artifacts"
        records, heard = Records(), []
        connect = partial(MlflowStore, uri, experiment, request.node.name, artifacts)
        tracker = Tracker(connect, records, heard.append)
        tracker.records, tracker.heard = records, heard
        return tracker

    return start


@pytest.fixture
def dice(request):
    """Run -> the dice of its epochs, every one that the store holds of the test's study."""

    def read(store, experiment=FAMILY):
        client = MlflowClient(store)
        family = client.get_experiment_by_name(experiment)
        runs = client.search_runs([family.experiment_id], f"tags.study = '{request.node.name}'") if family else []
        assert len({run.data.tags["name"] for run in runs}) == len(runs), "a run was made twice"
        return {
            run.data.tags["name"]: sorted(
                (point.step, point.value) for point in client.get_metric_history(run.info.run_id, "dice")
            )
            for run in runs
        }

    return read


def epochs(last):
    return [(epoch, epoch / 16) for epoch in range(1, last + 1)]


@pytest.mark.slow
def test_a_server_has_all_that_the_records_have_and_the_terminal_nothing(
    server, follow, dice, tmp_path, capfd, runs_in
):
    tracker = follow(server.uri)
    (tmp_path / "pareto.html").write_text("<p>front")
    tracker.records.put("t", 3, status="KILLED")
    tracker.records.put(PARENT, files=[(tmp_path / "pareto.html", "")])
    tracker.close()
    tracker.close()
    assert (tracker.problem, tracker.heard) == (None, [])
    assert capfd.readouterr().out == ""
    assert dice(server.store) == {PARENT: [], "t": epochs(3)}
    runs = runs_in(server.store, FAMILY)
    assert (runs[PARENT].info.status, runs["t"].info.status) == ("FINISHED", "KILLED")
    files = MlflowClient(server.uri).list_artifacts(runs[PARENT].info.run_id)
    assert [file.path for file in files] == ["pareto.html"]


def test_an_unreachable_server_holds_nobody_up_and_the_problem_says_why(closed_port, monkeypatch, follow, wait_until):
    monkeypatch.setattr(tracking, "_PATIENCE", 2.0)
    tracker = follow(f"http://127.0.0.1:{closed_port}")
    wait_until(lambda: tracker.heard)
    closing = time.monotonic()
    tracker.close()
    assert 1.5 < time.monotonic() - closing < 6
    (heard,) = tracker.heard
    for said in (heard, tracker.problem):
        assert str(closed_port) in said
        assert "Connection refused" in said
        assert "\n" not in said


@pytest.mark.slow
def test_a_server_killed_and_started_again_in_the_middle_loses_nothing(server, follow, dice, wait_until):
    tracker = follow(server.uri, "killed")
    tracker.records.put("t", 40)
    wait_until(lambda: MlflowClient(server.store).get_experiment_by_name("killed"))
    server.signal(signal.SIGKILL)
    tracker.records.put("t", 60)
    tracker.records.put("later", 5)
    wait_until(lambda: tracker.heard and tracker.problem)
    server.start()
    tracker.records.put("t", 61)
    tracker.close()
    assert tracker.problem is None
    failed, again = tracker.heard
    assert failed.startswith("MLflow cannot be written, trying again: ")
    assert again == "MLflow can be written again"
    assert dice(server.store, "killed") == {PARENT: [], "t": epochs(61), "later": epochs(5)}


@pytest.mark.slow
def test_a_server_that_hangs_does_not_hold_up_the_end(server, follow, dice, monkeypatch, wait_until):
    monkeypatch.setattr(tracking, "_PATIENCE", 2.0)
    tracker = follow(server.uri)
    wait_until(lambda: PARENT in dice(server.store))
    server.signal(signal.SIGSTOP)
    try:
        tracker.records.put("t", 1)
        closing = time.monotonic()
        tracker.close()
        assert 1.5 < time.monotonic() - closing < 4
        assert "no answer" in tracker.problem
    finally:
        server.signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_server_that_hung_for_a_while_gets_everything_once(server, follow, dice, monkeypatch, wait_until):
    """A request whose answer came too late has been done all the same: who tries again looks first."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tracker = follow(server.uri)
    tracker.records.put("t", 1)
    wait_until(lambda: "t" in dice(server.store))
    for number in range(30):
        tracker.records.put(f"new-{number}", 2)  # two requests each
    wait_until(lambda: "new-2" in dice(server.store))
    server.signal(signal.SIGSTOP)
    try:
        tracker.records.put("t", 3)
        wait_until(lambda: tracker.heard)
    finally:
        server.signal(signal.SIGCONT)
    tracker.close()
    assert (tracker.problem, len(tracker.heard)) == (None, 2)
    assert dice(server.store) == {PARENT: [], "t": epochs(3), **{f"new-{number}": epochs(2) for number in range(30)}}


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_what_was_done_though_its_answer_was_lost_is_not_done_twice(server, line, follow, dice, known, wait_until):
    tracker = follow(line.uri)
    if known:
        tracker.records.put("t", 2)
    wait_until(lambda: ("t" if known else PARENT) in dice(server.store))
    time.sleep(0.5)  # until the answer has come
    line.state = "deaf"
    tracker.records.put("t", 4)
    wait_until(lambda: tracker.heard)
    line.state = "up"
    tracker.records.put("t", 5)
    tracker.close()
    assert (tracker.problem, len(tracker.heard)) == (None, 2)
    assert dice(server.store) == {PARENT: [], "t": epochs(5)}


@pytest.mark.parametrize("number", [2, 3])
def test_an_epoch_is_sent_whole_or_not_at_all(store, follow, dice, monkeypatch, number):
    """Else, when sending fails between two requests, the rest of it would count as sent."""
    take, taken = SqlAlchemyStore.log_batch, []

    def fail_once(keeper, run_id, metrics, params, tags):
        taken.append(len(metrics))
        if sum(map(bool, taken)) == number:
            raise ConnectionError("cut")
        take(keeper, run_id, metrics, params, tags)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", fail_once)
    tracker = follow(store)
    tracker.records.put("t", 1200, params={f"knob-{name}": name for name in range(50)})
    tracker.close()
    assert (tracker.problem, len(tracker.heard)) == (None, 2)
    assert dice(store)["t"] == epochs(1200)


@pytest.mark.slow
def test_a_run_that_cannot_be_written_holds_up_no_other(store, follow, dice, monkeypatch):
    monkeypatch.setattr(tracking, "_PATIENCE", 3.0)
    take = SqlAlchemyStore.log_batch

    def fail(keeper, run_id, metrics, params, tags):
        if keeper.get_run(run_id).data.tags["name"] == "broken":
            raise ConnectionError("cut")
        take(keeper, run_id, metrics, params, tags)

    monkeypatch.setattr(SqlAlchemyStore, "log_batch", fail)
    tracker = follow(store)
    for name in ("broken", "u"):
        tracker.records.put(name, 3)
    tracker.close()
    assert "cut" in tracker.problem
    assert dice(store) == {PARENT: [], "u": epochs(3), "broken": []}


def test_what_is_refused_is_told_once_and_left_out_until_the_next_session(store, follow, dice, wait_until, tmp_path):
    """A run that somebody has deleted takes nothing more, and a file that is gone does not come back by asking."""
    tracker, client = follow(store), MlflowClient(store)
    tracker.records.put("t", 1)
    wait_until(lambda: dice(store).get("t"))
    (run,) = client.search_runs([client.get_experiment_by_name(FAMILY).experiment_id], "tags.name = 't'")
    client.delete_run(run.info.run_id)
    tracker.records.put("t", 2)
    wait_until(lambda: tracker.heard)
    tracker.records.put("u", 3, files=[(tmp_path / "gone.html", "")], status="FINISHED")
    tracker.records.put("t", 3)
    started = time.monotonic()
    tracker.close()
    assert time.monotonic() - started < 30
    assert run.info.run_id in tracker.heard[0]
    assert tracker.heard[0].startswith("MLflow cannot be written, this is left out: ")
    assert sum("left out" in said for said in tracker.heard) == 2
    assert run.info.run_id in tracker.problem
    assert dice(store)["u"] == epochs(3)
    client.restore_run(run.info.run_id)
    later = follow(store)
    later.records.put("t", 3)
    later.close()
    assert (later.problem, dice(store)["t"]) == (None, epochs(3))
