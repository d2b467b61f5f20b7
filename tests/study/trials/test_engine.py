import contextlib
import json
import time

import pytest
import ray
from ray.util import placement_group_table
from safetensors.numpy import load_file

from study.cluster.placement import remove_own_groups
from study.cluster.storage import Storage
from trainables.trainable import WEIGHTS_FILE


class Killed(BaseException):
    """The process dies: nothing catches it, neither Tune nor we."""


@pytest.fixture
def killed():
    """Kills what happens inside, and takes away the trials' actors, which would have died with the process."""

    @contextlib.contextmanager
    def kill():
        with pytest.raises(Killed):
            yield
        remove_own_groups()

    return kill


def raiser(error):
    """A function that only raises."""

    def fail(*_, **__):
        raise error

    return fail


@pytest.fixture
def fetched(monkeypatch):
    """The trials whose weights have been fetched from the storage."""
    trials, fetch = [], Storage.fetch

    def note(storage, path, to):
        trials.append(to.parent.name)
        fetch(storage, path, to)

    monkeypatch.setattr(Storage, "fetch", note)
    return trials


@pytest.mark.slow
def test_only_weights_of_trials_on_the_front_are_fetched_and_the_last_ones_are_kept(local_ray, engine, fetched):
    assert engine.run()
    best, leading = 0.0, []
    for row in engine.rows:
        if row["noise_rate"] > best:
            best, leading = row["noise_rate"], [*leading, row["id"]]
    assert fetched == leading
    assert len(leading) < 4
    assert engine.front == {leading[-1]}
    folder = engine.folder / "front" / leading[-1]
    assert load_file(folder / WEIGHTS_FILE)["rate"] == best
    config = json.loads((folder / "config.json").read_text())
    knobs = {"noise_rate": best, "epochs": 2}
    assert config == {"id": leading[-1], "strategy": "noisy_label", "seed": 0, "knobs": knobs, "one_by_one": False}
    assert not engine.checkpoints


@pytest.mark.slow
def test_a_process_that_dies_between_a_trials_row_and_its_weights_gets_them_later(
    local_ray, engine, monkeypatch, killed
):
    with monkeypatch.context() as patch, killed():
        patch.setattr(Storage, "fetch", raiser(Killed()))
        engine.run()
    (row,) = engine.rows
    assert (row["status"], row["on_front"], engine.front) == ("finished", True, set())
    assert engine.run()
    assert engine.front == {row["id"] for row in engine.rows if row["on_front"]}
    assert len(engine.epochs) == 4 * 2
    assert not engine.checkpoints


@pytest.mark.slow
def test_weights_that_cannot_be_fetched_stop_no_study_and_are_fetched_by_the_next_session(
    local_ray, engine, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "fetch", raiser(OSError("no route to the bucket")))
        assert engine.run()
    assert {row["status"] for row in engine.rows} == {"finished"}
    assert not engine.front
    assert engine.run()
    assert engine.front == {row["id"] for row in engine.rows if row["on_front"]}
    assert len(engine.epochs) == 4 * 2


@pytest.mark.slow
def test_a_process_that_dies_before_a_trials_row_loses_no_more_than_the_epochs_since_its_state(
    local_ray, engine, killed
):
    with killed():
        engine.run(lambda recorder: setattr(recorder, "ended", raiser(Killed())))
    (row,) = engine.rows
    assert row["status"] == "running"
    assert engine.storage.newest_state(row["id"]) is not None
    assert engine.run()
    assert [row["epochs_done"] for row in engine.rows] == [2] * 4


@pytest.mark.slow
def test_a_study_whose_trials_run_out_of_memory_leaves_the_other_studies_of_the_cluster_alone(
    short_of_memory, engine, other_driver
):
    theirs = other_driver()
    assert engine.run()
    assert {row["problem"] for row in engine.rows} == {"out of memory, also one scan at a time"}
    groups = placement_group_table()
    assert groups.pop(theirs)["state"] == "CREATED"
    assert {group["state"] for group in groups.values()} == {"REMOVED"}
    latest = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 1:  # what a killed process held is given back a moment later
        assert time.monotonic() < latest
        time.sleep(0.1)
