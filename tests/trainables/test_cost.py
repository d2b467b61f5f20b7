from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import psutil
import pytest

from trainables.cost import CPU, trial_cost
from trainables.data import TrialData
from trainables.device import default_device

SMALL, LARGE = (16, 32, 32), (32, 64, 64)


def data(shape, scans=6):
    random = np.random.default_rng(0)
    images = random.standard_normal((scans, *shape), dtype=np.float32)
    labels = random.integers(0, 3, (scans, *shape), dtype=np.uint8)
    return TrialData(images, labels, ((0,), (1, 2)), ((3,),), ((4,), (5,)), 3)


KNOBS = {"noise_rate": 0.5, "lr": 1e-3}


@pytest.mark.slow
def test_a_step_on_eight_times_the_voxels_takes_more_memory():
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        costs = [fresh.submit(trial_cost, data(shape), 10, [("noisy_label", KNOBS)], 1) for shape in (SMALL, LARGE)]
        small, large = (cost.result() for cost in costs)
    assert min(small.train_seconds, small.evaluate_seconds, large.train_seconds, large.evaluate_seconds) > 0
    assert large.memory > small.memory + 5e7


@pytest.mark.slow
@pytest.mark.skipif(default_device().type != "cpu", reason="on a CPU")
def test_on_the_cpu_the_memory_is_the_process_own():
    """Bounded by what the system says of this process, which has run the step."""
    cost = trial_cost(data(SMALL), 10, [("noisy_label", KNOBS)], 1)
    assert (cost.device, cost.capacity) == (CPU, psutil.virtual_memory().total)
    assert psutil.Process().memory_full_info().uss * 0.8 < cost.memory
    assert cost.memory < psutil.virtual_memory().total


@pytest.mark.slow
def test_of_several_trials_the_largest_memory_counts():
    alone = trial_cost(data(LARGE), 10, [("noisy_label", KNOBS)], 1)
    both = trial_cost(data(LARGE), 10, [("noisy_label", {**KNOBS, "retain_batch": 2}), ("max_loss", {})], 1)
    assert both.memory >= alone.memory


def test_a_cohort_smaller_than_a_batch_is_enough():
    few = replace(data(SMALL, scans=2), retain=((0,),), forget=((1,),), heldout=())
    assert trial_cost(few, 10, [("noisy_label", {**KNOBS, "retain_batch": 8})], 1).train_seconds > 0


@pytest.mark.gpu
@pytest.mark.skipif(default_device().type != "cuda", reason="needs a GPU")
def test_on_a_gpu_so_many_trials_as_it_holds_run_at_once():
    cost = trial_cost(data((48, 120, 120)), 10, [("noisy_label", KNOBS)], 1)
    assert cost.device != CPU
    assert 0 < cost.memory < cost.capacity
