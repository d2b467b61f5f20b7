"""Processes that are killed: the driver, a trial's worker, Ray's head; a cut checkpoint; two drivers at once."""

import os
import re

import pytest


def seconds_of(history, trial):
    return history[history.id == trial].set_index("epoch").seconds


@pytest.mark.slow
def test_a_killed_driver_a_cut_checkpoint_and_a_killed_worker_change_no_number(
    repeatable, gone, same_as_undisturbed, complete_in_mlflow
):
    """What had ended stays as it was, what ran goes on from its newest whole checkpoint."""
    study = repeatable()
    driver = study.start()
    driver.until(lambda: study.reached(ended=1, epochs=8)() and len(study.states(study.running[0])) > 0)
    workers = driver.workers
    driver.kill()
    gone(workers)
    trials, history, (under_way,) = study.trials, study.history, study.running
    newest = study.states(under_way)[-1]
    os.truncate(newest, newest.stat().st_size // 2)
    saved, (ended,) = study.saved(under_way), trials.index[trials.status == "finished"]

    driver = study.start(*study.resume)
    driver.until(study.reached(ended=2, epochs=8))
    (last,) = study.running
    saved_last = study.saved(last)
    before = seconds_of(study.history, last)
    (worker,) = driver.workers
    worker.kill()
    output = driver.ends(0)

    assert "Traceback" not in output
    assert output.count("tried again") == 1
    assert re.search(rf"{last}  tried again after: the loss of its process or node \(last report from \d", output)
    after = study.final("history")
    assert (seconds_of(after, ended) == seconds_of(history, ended)).all()
    assert (seconds_of(after, under_way)[:saved] == seconds_of(history, under_way)[:saved]).all()
    assert saved_last >= 1
    assert (seconds_of(after, last)[:saved_last] == before[:saved_last]).all()
    same_as_undisturbed(study)
    complete_in_mlflow(study.store, study)


@pytest.mark.soak
def test_a_second_driver_is_refused_and_without_rays_head_the_first_ends_and_its_command_completes(
    repeatable, gone, same_as_undisturbed, complete_in_mlflow
):
    study = repeatable()
    driver = study.start()
    driver.until((study.folder / ".owner").exists)
    assert f"error: study 's' is being run by process {driver.pid} on " in study.start().ends(2)
    driver.until(study.reached(ended=0, epochs=8))
    (head,) = driver.below("gcs_server")
    workers = driver.workers
    head.kill()
    output = driver.ends(1, seconds=30)
    assert output.rstrip().endswith(
        "error: Ray's head process is gone; all epochs reported so far are recorded, and the same command continues"
        " from them"
    )
    gone(workers)
    epochs = {trial: study.epochs_of(trial) for trial in study.trials.index}
    assert all(numbers == [*range(1, len(numbers) + 1)] for numbers in epochs.values())
    assert len(epochs.popitem()[1]) >= 8
    study.start().ends(0)
    same_as_undisturbed(study)
    complete_in_mlflow(study.store, study)
