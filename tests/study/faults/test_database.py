"""One MLflow server on PostgreSQL for several studies at once, as on a cluster; the database gone in the middle."""

import time

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.soak

OPTIONS = ("--concurrent", 1, "--cpus-per-trial", 1, "--set", "epochs=30", "--sampler", "random")
TRYING = "MLflow cannot be written, trying again: "
AGAIN = "MLflow can be written again"
LOST = "MLflow could not be written"
SECONDS = 600
"""That three drivers get on two busy cores."""


@pytest.fixture
def server(server_on, tmp_path, postgres):
    server = server_on(tmp_path, postgres.uri)
    yield server
    server.kill()


@pytest.fixture
def three(study_in, tmp_path, server, cluster):
    """Three studies of a family on three nodes, begun at the same time."""
    options = (*OPTIONS, "--trials", 2, "--address", cluster.address, "--tracking-uri", server.uri)
    studies = [study_in(tmp_path / "studies", name, *options, "--seed", seed) for seed, name in enumerate("abc")]
    for study in studies:
        study.start()
    return studies


def ends(study):
    output = study.drivers[0].ends(0, SECONDS)
    assert LOST not in output
    assert "Traceback" not in output
    return output


def runs_in_all(uri):
    """How many runs a server has, and in how many experiments beside MLflow's own."""
    client = MlflowClient(uri)
    made = [found.experiment_id for found in client.search_experiments() if found.name != "Default"]
    return len(client.search_runs(made, max_results=1000)), len(made)


def test_a_database_restarted_under_three_studies_lacks_nothing(three, server, postgres, complete_in_mlflow):
    drivers = [study.drivers[0] for study in three]
    for study, driver in zip(three, drivers, strict=True):
        driver.until(study.reached(ended=0, epochs=3), SECONDS)
    postgres.stop()
    drivers[0].until(lambda: TRYING in drivers[0].said)
    time.sleep(3)
    postgres.start()
    outputs = [ends(study) for study in three]
    assert AGAIN in outputs[0]
    client, running = MlflowClient(server.uri), []
    for study, output in zip(three, outputs, strict=True):
        assert "on 4 nodes (3 CPUs, 0 GPUs)" in output
        runs = complete_in_mlflow(server.uri, study)
        assert len(runs) == 2 + 3
        times = [client.get_run(run["id"]).info for name, run in runs.items() if name in study.trials.index]
        running.append((min(run.start_time for run in times), max(run.end_time for run in times)))
    assert max(begun for begun, _ in running) < min(over for _, over in running)  # all three wrote at once
    assert runs_in_all(server.uri) == (3 * (2 + 3), 1)


def test_a_killed_database_that_stays_away_gets_the_rest_later(study_in, tmp_path, server, postgres, sent_later):
    study = study_in(tmp_path / "studies", "away", *OPTIONS, "--trials", 2, "--tracking-uri", server.uri)
    driver = study.start()
    driver.until(study.reached(ended=1, epochs=3))
    postgres.kill()
    output = driver.ends(0)
    assert TRYING in output
    assert "Traceback" not in output
    postgres.start()
    sent_later(study, output, server.uri)
