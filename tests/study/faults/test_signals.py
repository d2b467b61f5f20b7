"""Ctrl-C and SIGTERM in the middle of trials."""

import os
import signal
import time

import pytest
import torch

pytestmark = pytest.mark.soak

STOPPING = "stopping: trials finish their epoch and are saved; once more stops at once"


def stopped_by(study, number, code):
    """A driver told to stop while two trials run: what it said, and their epochs on record."""
    driver = study.start() if number == signal.SIGINT else study.start(*study.resume)
    before = {trial: len(study.epochs_of(trial)) for trial in study.running} if study.folder.exists() else {}
    driver.until(lambda: study.reached(0, 5, at_once=2)() and len(driver.workers) == 2 and grown(study, before))
    if number == signal.SIGINT:
        os.killpg(driver.pid, number)  # a terminal sends it to the trials too
    else:
        driver.process.send_signal(number)
    output = driver.ends(code)
    assert STOPPING in output
    assert f"interrupted; continue  python -m study.run --resume s --studies {study.studies}" in output
    assert "Traceback" not in output
    running = study.running
    assert len(running) == 2
    for trial in running:
        epochs = study.epochs_of(trial)
        assert epochs == [*range(1, len(epochs) + 1)]
        assert torch.load(study.states(trial)[-1], weights_only=True)["epoch"] == len(epochs)
    return {trial: len(study.epochs_of(trial)) for trial in running}


def grown(study, before):
    return all(len(study.epochs_of(trial)) > epochs for trial, epochs in before.items())


def test_a_signal_lets_trials_save_themselves_and_a_second_one_stops_at_once(study_in, tmp_path, gone):
    study = study_in(tmp_path, "s", "--concurrent", 2, "--trials", 2, "--set", "epochs=60")
    first = stopped_by(study, signal.SIGINT, 130)
    seconds = study.history.set_index(["id", "epoch"]).seconds
    second = stopped_by(study, signal.SIGTERM, 143)
    assert all(second[trial] > epochs for trial, epochs in first.items())

    driver = study.start(*study.resume)
    driver.until(lambda: grown(study, second) and len(driver.workers) == 2)
    workers = driver.workers
    workers[0].suspend()  # a trial that hangs will never finish its epoch
    os.killpg(driver.pid, signal.SIGINT)
    driver.until(lambda: STOPPING in driver.said)
    time.sleep(2)
    assert driver.process.poll() is None
    told = time.monotonic()
    os.killpg(driver.pid, signal.SIGINT)
    assert "Interrupted. The same command continues." in driver.ends(130)
    assert time.monotonic() - told < 20
    gone(workers)

    assert "Traceback" not in study.start(*study.resume).ends(0)
    trials, history = study.final("trials"), study.final("history")
    assert trials.status.tolist() == ["finished"] * 2
    for trial, epochs in first.items():
        assert history[history.id == trial].epoch.tolist() == [*range(1, 61)]
        again = history[history.id == trial].set_index("epoch").seconds
        assert (again[:epochs] == seconds[trial]).all()  # not run again
