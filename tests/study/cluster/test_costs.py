from statistics import fmean
from types import SimpleNamespace

import numpy as np
import pytest

from search_spaces.space import SPACES
from study.cluster.costs import duration, fitting, packed
from study.cluster.nodes import Node
from study.records.failure import StudyError
from study.records.settings import StudySettings
from trainables.cost import CPU, Cost
from trainables.data import TrialData

GIB = 2**30
A10G = Cost("NVIDIA A10G", 0.1, 0.02, 4 * GIB, 24 * GIB)
T4 = Cost("Tesla T4", 0.3, 0.05, 5 * GIB, 16 * GIB)
NODE = Cost(CPU, 2.0, 0.5, 3 * GIB, 32 * GIB)


@pytest.mark.parametrize(("cost", "count"), [(A10G, 5), (T4, 2), (NODE, 9)])
def test_a_tenth_of_a_device_stays_free(cost, count):
    assert fitting(cost) == count
    assert count * cost.memory <= 0.9 * cost.capacity < (count + 1) * cost.memory


def test_a_trial_larger_than_the_device_is_one_clear_error():
    with pytest.raises(StudyError, match=r"a trial takes 4\.0 GiB of Small's 4\.0: choose a smaller --shape"):
        fitting(A10G._replace(device="Small", capacity=4 * GIB))


def test_the_smallest_gpu_decides_how_many_share_one():
    settings = packed(StudySettings(gpus_per_trial="auto"), [A10G, T4], [Node(8, 1), Node(4, 1)])
    assert settings.gpus_per_trial == 1 / 2


def test_the_memory_of_a_node_decides_how_many_trials_share_its_cpus():
    """9 trials fit on a node; with 32 CPUs each gets 4, so that there are 8."""
    settings = packed(StudySettings(cpus_per_trial="auto"), [NODE], [Node(0, 0), Node(32, 0), Node(8, 0)])
    assert settings.cpus_per_trial == 4


def test_what_the_user_gave_stays():
    settings = StudySettings(gpus_per_trial=0.5, cpus_per_trial=3)
    assert packed(settings, [A10G], [Node(8, 1)]) == settings


def test_where_torch_sees_no_gpu_a_share_of_one_is_not_made_up():
    assert packed(StudySettings(gpus_per_trial="auto"), [NODE], [Node(8, 1)]).gpus_per_trial is None


def test_the_time_is_that_of_the_longest_row_of_trials():
    """6 retain, 2 forget, 4 held-out scans: an epoch takes 6 x 0.1 + 12 x 0.02 s; three trials after another."""
    arrays = np.zeros((12, 1, 1, 1), np.float32), np.zeros((12, 1, 1, 1), np.uint8)
    sets = tuple(tuple((scan,) for scan in range(*ends)) for ends in ((0, 6), (6, 8), (8, 12)))
    space = SPACES.load("noisy_label").up_to(10)
    settings = StudySettings(baseline_epochs=5)
    plan = SimpleNamespace(data=TrialData(*arrays, *sets, 2), space=space, settings=settings)
    epochs = fmean(space.epochs)
    assert 1 <= epochs <= 10
    trials = duration(plan, [A10G], concurrent=4, fits=0, trials=9)
    assert trials == pytest.approx(3 * epochs * (6 * 0.1 + 12 * 0.02))
    fit = 5 * (8 * 0.1 + 12 * 0.02 / 5)  # evaluated every fifth epoch
    assert duration(plan, [A10G], concurrent=4, fits=2, trials=9) == pytest.approx(trials + fit)
    assert duration(plan, [A10G, T4], concurrent=4, fits=0, trials=9) > trials
