"""MLflow's server gone or hanging in the middle of a study."""

import re
import signal
import time

import pytest

pytestmark = pytest.mark.soak

OPTIONS = ("--concurrent", 1, "--trials", 2, "--set", "epochs=40")
TRYING = "MLflow cannot be written, trying again: "
AGAIN = "MLflow can be written again"


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


def test_a_server_that_is_killed_comes_back_hangs_and_dies_again_slows_nothing_and_lacks_nothing(
    study_in, tmp_path, server, sent_later
):
    study = study_in(tmp_path, "s", *OPTIONS, "--tracking-uri", server.uri)
    driver = study.start()
    driver.until(study.reached(ended=0, epochs=5))
    server.kill()
    driver.until(lambda: TRYING in driver.said)
    (worker,) = driver.workers
    worker.suspend()  # so that the server is back while the trial runs
    server.start()
    driver.until(lambda: AGAIN in driver.said)
    worker.resume()
    driver.until(study.reached(ended=1, epochs=5))
    (trial,) = study.running
    began, before = time.monotonic(), len(study.epochs_of(trial))
    server.signal(signal.SIGSTOP)
    driver.until(lambda: len(re.findall(r" epochs, \d+ s$", driver.said, re.MULTILINE)) == 2)
    over = time.monotonic()
    output = driver.ends(0)
    assert time.monotonic() - over < 20
    assert "Traceback" not in output
    hung = study.final("history").query("id == @trial").seconds[before:]
    assert over - began < 2 * hung.sum() + 15
    server.kill()
    server.start()
    sent_later(study, output, server.uri)
