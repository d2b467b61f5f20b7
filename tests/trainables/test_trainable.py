"""The Tune trainable driven as Ray drives it, but in this process: no cluster."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from ray.tune.result import DONE, SHOULD_CHECKPOINT, TRAINING_ITERATION
from ray.tune.trainable import trainable as ray_trainable
from safetensors.torch import load_file

from trainables import strategies, unlearning
from trainables import trainable as module
from trainables.fitting import initial_network, weights_of
from trainables.med3d import load_state, med3d
from trainables.recipe import Recipe
from trainables.strategies.noisy_label import noisy_label
from trainables.trainable import STATE_FILE, WEIGHTS_FILE, UnlearningTrial
from trainables.unlearning import Unlearning

KNOBS = {"noise_rate": 0.9, "lr": 2e-3, "forget_weight": 0.5, "epochs": 3, "retain_batch": 2}
CONFIG = {"strategy": "noisy_label", "knobs": KNOBS, "seed": 4, "checkpoint": None, "one_by_one": False}


@pytest.fixture
def data(toy):
    """Two steps an epoch; read-only, as the object store hands it out."""
    toy.images.flags.writeable = toy.labels.flags.writeable = False
    return replace(toy, retain=((0, 1), (2,), (4,)), forget=((3, 6),), heldout=((10,),))


@pytest.fixture
def weights():
    """Of the baseline."""
    found = weights_of(initial_network(10, 3, seed=0))
    for value in found.values():
        value.flags.writeable = False
    return found


@pytest.fixture
def baseline():
    return {
        "depth": 10,
        "digest": "b4se",
        "metrics": {"baseline": {"retain_dice": 0.8, "heldout_dice": 0.7}, "retrained": {"forget_dice": 0.6}},
        "retain_floor": 0.9,
    }


@pytest.fixture
def folder(tmp_path):
    """Not kept after the test, because a checkpoint takes up to 170 MB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def start(weights, baseline, data, folder, monkeypatch):
    """Starts a trial; `setup` gets the shared objects as from `tune.with_parameters`."""
    monkeypatch.setattr(ray_trainable, "DEFAULT_STORAGE_PATH", str(folder / "ray"))
    monkeypatch.setenv("LETHE_CACHE", str(folder / "cache"))

    class Trial(UnlearningTrial):
        def setup(self, config):
            super().setup(config, data=data, weights=weights, baseline=baseline, threads=1)

    return lambda **changes: Trial({**CONFIG, **changes})


def rest(trial):
    """The results until the end, without times and what Tune adds."""
    results = [trial.train()]
    while not results[-1][DONE]:
        results.append(trial.train())
    return [told(result) for result in results]


def told(result):
    metrics = {f"{subset}_{name}" for subset in ("retain", "forget", "heldout") for name in ("dice", "mae")}
    gaps = {"dice_gap", "mae_gap", "retention", "retrain_gap", "unseen_gap"}
    return repr({name: result[name] for name in sorted({*metrics, *gaps, "epoch", "loss", "diverged", DONE})})


def final_weights(trial, checkpoint):
    trial.save(str(checkpoint))
    assert [file.name for file in checkpoint.iterdir()] == [WEIGHTS_FILE]
    return load_file(checkpoint / WEIGHTS_FILE)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def moved(last, weights):
    return {name for name, value in last.items() if not torch.equal(value, torch.tensor(weights[name]))}


def test_a_trial_is_the_loop_from_the_baseline_with_gaps(start, weights, data, folder):
    network = med3d(10, 3)
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    reports = list(Unlearning(network, data, noisy_label(0.9, 0.5), Recipe(3, 2e-3, retain_batch=2), 4))

    trial = start()
    results = [trial.train() for _ in range(3)]
    for number, (result, report) in enumerate(zip(results, reports, strict=True), start=1):
        assert result["epoch"] == result[TRAINING_ITERATION] == number
        assert {name: result[name] for name in report.metrics} == report.metrics
        assert result["subjects"] == report.subjects
        assert (result["loss"], result["diverged"]) == (report.loss, False)
        assert result["dice_gap"] == result["retain_dice"] - result["forget_dice"]
        assert result["mae_gap"] == result["forget_mae"] - result["retain_mae"]
        assert result["retention"] == result["retain_dice"] / 0.8
        assert result["retrain_gap"] == abs(result["forget_dice"] - 0.6)
        assert result["unseen_gap"] == abs(result["forget_dice"] - result["heldout_dice"])
        assert result["seconds"] > 0
    assert [result[DONE] for result in results] == [result["finished"] for result in results] == [False, False, True]
    assert equal(final_weights(trial, folder / "last"), network.state_dict())


@pytest.mark.slow
def test_a_reused_process_repeats_a_fresh_trial_bit_for_bit(start, folder):
    fresh, reused = start(), start(seed=1, knobs={**KNOBS, "noise_rate": 0.5, "lr": 0.01, "retain_batch": 3})
    expected, before = rest(fresh), reused.train()
    assert reused.reset({**CONFIG})
    assert rest(reused) == expected
    assert told(before) != expected[0]
    assert equal(final_weights(reused, folder / "reused"), final_weights(fresh, folder / "fresh"))


@pytest.mark.parametrize("way", ["restore", pytest.param("config", marks=pytest.mark.slow)])
def test_a_stopped_trial_goes_on_from_its_checkpoint_bit_for_bit(start, folder, way):
    whole, stopped = start(), start()
    expected = rest(whole)
    stopped.train()
    stopped.save(str(folder / "stopped"))
    state = folder / "stopped" / STATE_FILE
    if way == "restore":
        continued = start()
        continued.restore(str(state.parent))
    else:
        continued = start(checkpoint=str(state))
    assert rest(continued) == expected[1:]
    assert equal(final_weights(continued, folder / "continued"), final_weights(whole, folder / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize(("one_by_one", "sizes"), [(False, [3, 3]), (True, [1] * 6)])
def test_a_trial_that_is_short_of_memory_sends_one_scan_at_a_time(start, one_by_one, sizes):
    """Retain batches of two and a forget scan, in two steps; whatever the trial before it did."""
    trial = start(one_by_one=not one_by_one)
    trial.train()
    assert trial.reset({**CONFIG, "one_by_one": one_by_one})
    seen = []

    def see(encoder, given, features):
        if encoder.training:
            seen.append(len(given[0]))

    trial._loop.network.encoder.register_forward_hook(see)
    trial.train()
    assert seen == sizes


@pytest.mark.slow
def test_a_trial_goes_on_one_scan_at_a_time_from_a_state_of_whole_batches(start, folder):
    frozen = {**KNOBS, "batch_norm": "frozen"}
    whole, stopped = start(knobs=frozen), start(knobs=frozen)
    assert len(rest(whole)) == 3
    stopped.train()
    stopped.save(str(folder / "stopped"))
    continued = start(knobs=frozen, one_by_one=True, checkpoint=str(folder / "stopped" / STATE_FILE))
    assert [continued.train()["epoch"] for _ in range(2)] == [2, 3]
    ends = [final_weights(trial, folder / name) for trial, name in ((whole, "whole"), (continued, "continued"))]
    first, second, before = (
        torch.cat([value.flatten() for name, value in state.items() if name.endswith("weight")])
        for state in (*ends, start()._loop.network.state_dict())
    )
    assert (first - second).norm() < 0.1 * (first - before).norm()


@pytest.mark.slow
def test_the_last_checkpoint_loads_as_weights_of_the_network(start, weights, folder):
    trial = start(knobs={**KNOBS, "epochs": 1})
    trial.train()
    last = final_weights(trial, folder / "last")
    network = med3d(10, 3)
    assert load_state(network, last, "last") == ()
    assert equal(network.state_dict(), last)
    assert moved(last, weights) == set(weights)


@pytest.mark.slow
def test_checkpoints_are_wanted_at_the_end_and_for_a_twentieth_of_the_trials_own_time(start, folder, monkeypatch):
    clock = SimpleNamespace(now=0.0, epoch=0.0)

    def begin_or_end_an_epoch():
        clock.now += clock.epoch
        return clock.now

    def slow_save(state, file):
        clock.now += 2.0

    fake = SimpleNamespace(monotonic=lambda: clock.now, perf_counter=begin_or_end_an_epoch)
    monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(unlearning, "time", fake)
    monkeypatch.setattr(torch, "save", slow_save)
    trial = start(knobs={**KNOBS, "epochs": 6})

    def wanted_after(seconds):
        clock.epoch = seconds
        return trial.train()[SHOULD_CHECKPOINT]

    assert wanted_after(1)  # nothing has been saved yet
    trial.save(str(folder / "first"))
    clock.now += 1000  # waiting for other trials is not its own time
    assert [wanted_after(39), wanted_after(2)] == [False, True]  # saving took 2 seconds, a twentieth of 40
    trial.save(str(folder / "second"))
    assert [wanted_after(seconds) for seconds in (10, 10, 10)] == [False, False, True]  # the last of these is the end


def test_a_diverged_trial_ends_at_once_and_is_saved(start, folder):
    trial = start(knobs={**KNOBS, "lr": 1e30})
    result = trial.train()
    assert (result["diverged"], result[DONE], result[SHOULD_CHECKPOINT], result["finished"]) == (True,) * 4
    assert not math.isfinite(result["loss"])
    assert set(final_weights(trial, folder / "last")) == set(med3d(10, 3).state_dict())


STRATEGIES = [
    pytest.param(file.stem, marks=[] if file.stem in ("noisy_label", "salun", "mechanics") else pytest.mark.slow)
    for file in sorted(Path(strategies.__path__[0]).glob("[!_]*.py"))
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_can_be_built_and_run_by_name(start, strategy):
    trial = start(strategy=strategy, knobs={"epochs": 1})
    assert math.isfinite(trial.train()["loss"])


@pytest.mark.slow
def test_an_adapted_trial_is_saved_as_plain_weights_and_shares_the_baselines_features(start, weights, folder):
    trial = start(strategy="fix_decoder", knobs={"epochs": 1, "lora_rank": 2, "lr": 0.01})
    trial.train()
    last = final_weights(trial, folder / "last")
    assert load_state(med3d(10, 3), last, "last") == ()
    assert moved(last, weights) == {
        name for name in last if name.startswith("encoder") and statistic_or_kernel(last, name)
    }
    assert (folder / "cache" / "features" / "b4se" / "features.npy").is_file()


def statistic_or_kernel(weights, name):
    return weights[name].ndim == 5 or "running" in name or "batches" in name


@pytest.mark.slow
@pytest.mark.parametrize(("retain_floor", "pushes"), [(-1.0, True), (2.0, False)])
def test_the_floor_is_a_share_of_the_baselines_retain_dice(start, baseline, retain_floor, pushes):
    baseline["retain_floor"] = retain_floor
    knobs = {**KNOBS, "epochs": 2}
    constant, floored = (
        rest(start(knobs={**knobs, "forget_schedule": schedule})) for schedule in ("constant", "until_floor")
    )
    assert constant[0] == floored[0]
    assert (constant[1] == floored[1]) == pushes
