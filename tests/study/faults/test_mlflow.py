"""MLflow's server, and the database behind it, gone or hanging in the middle of a study."""

import re
import signal
import time

import pytest

from study.recording.tracker import PARENT, Tracker

pytestmark = pytest.mark.slow

OPTIONS = ("--concurrent", 1, "--trials", 2, "--set", "epochs=40")
TRYING = "MLflow cannot be written, trying again: "
AGAIN = "MLflow can be written again"
LOST = "MLflow could not be written"


@pytest.fixture(scope="module")
def one_server(server_on, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return server_on(folder, f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def server(one_server):
    """Alive again after the test."""
    yield one_server
    one_server.kill()
    one_server.start()


def ended(driver):
    """How many trials have ended, as the terminal says."""
    return len(re.findall(r" epochs, \d+ s$", driver.said, re.MULTILINE))


def test_a_server_that_is_killed_and_comes_back_lacks_nothing(study_in, tmp_path, server, complete_in_mlflow):
    study = study_in(tmp_path, "back", *OPTIONS, "--tracking-uri", server.uri)
    driver = study.start()
    driver.until(study.reached(ended=0, epochs=5))
    server.kill()
    driver.until(lambda: TRYING in driver.said)
    (worker,) = driver.workers
    worker.suspend()  # so that the server is back before the study ends
    server.start()
    worker.resume()
    output = driver.ends(0)
    assert AGAIN in output
    assert LOST not in output
    assert "Traceback" not in output
    complete_in_mlflow(server.uri, study)


def test_a_server_that_stays_away_gets_everything_later(study_in, tmp_path, server, sent_later):
    study = study_in(tmp_path, "away", *OPTIONS, "--tracking-uri", server.uri)
    driver = study.start()
    driver.until(study.reached(ended=0, epochs=5))
    server.kill()
    output = driver.ends(0)
    assert TRYING in output
    assert "Traceback" not in output
    server.start()
    sent_later(study, output, server.uri)


def test_a_server_that_hangs_slows_nothing(study_in, tmp_path, server):
    study = study_in(tmp_path, "hang", *OPTIONS, "--tracking-uri", server.uri)
    driver = study.start()
    driver.until(study.reached(ended=0, epochs=15))
    began, before = time.monotonic(), study.history
    server.signal(signal.SIGSTOP)
    driver.until(lambda: ended(driver) == 2)
    over = time.monotonic()
    output = driver.ends(0)
    assert time.monotonic() - over < 20
    assert LOST in output
    assert "Traceback" not in output
    history = study.final("history")
    (first,) = set(before.id) - {"baseline", "retrained"}
    after = history[history.id.str.len() == len(first)].seconds[len(before[before.id == first]) :]
    assert len(history) == 2 * 3 + 2 * 40
    assert over - began < 2 * after.sum() + 15
    assert after.median() < 2 * before[before.id == first].seconds.median()


def test_a_run_is_made_once_though_the_server_hangs_meanwhile(server, monkeypatch, held_in_mlflow):
    """A request whose answer comes too late has been done all the same."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    tracker = Tracker(server.uri, "many", "many", None, lambda _: None)
    tracker.start(PARENT, {}, {})
    for number in range(150):
        tracker.start(f"run-{number}", {}, {})  # one request each, that makes the run
        time.sleep(0.05)
        if number == 50:
            server.signal(signal.SIGSTOP)
            time.sleep(6)
            server.signal(signal.SIGCONT)
    tracker.close()
    assert tracker.problem is None
    assert set(held_in_mlflow(server.uri, "many")) == {PARENT, *(f"run-{number}" for number in range(150))}


def test_a_database_that_is_killed_and_comes_back_lacks_nothing(
    study_in, tmp_path, postgres, server_on, complete_in_mlflow
):
    server = server_on(tmp_path, postgres.uri)
    study = study_in(tmp_path / "studies", "base", *OPTIONS, "--tracking-uri", server.uri)
    driver = study.start()
    driver.until(study.reached(ended=0, epochs=5))
    postgres.kill()
    driver.until(lambda: TRYING in driver.said)
    postgres.start()
    output = driver.ends(0)
    assert AGAIN in output
    assert LOST not in output
    assert "Traceback" not in output
    complete_in_mlflow(server.uri, study)
    server.kill()
