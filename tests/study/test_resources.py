import pytest
import ray
import torch

from study.resources import Resources, share


@pytest.mark.parametrize(
    ("machine", "concurrent", "expected"),
    [
        ({"CPU": 2.0}, None, (2, 1, 0.0)),
        ({"CPU": 8.0}, 3, (3, 2, 0.0)),
        ({"CPU": 8.0}, 1, (1, 8, 0.0)),
        ({"CPU": 2.0}, 9, (2, 1, 0.0)),
        ({"CPU": 16.0, "GPU": 4.0}, None, (4, 4, 1.0)),
        ({"CPU": 16.0, "GPU": 4.0}, 8, (8, 2, 0.5)),
        ({"CPU": 16.0, "GPU": 4.0}, 2, (2, 8, 1.0)),
        ({"CPU": 2.0, "GPU": 4.0}, None, (2, 1, 1.0)),
        ({}, None, (1, 1, 0.0)),
    ],
)
def test_a_machine_is_divided_among_the_trials(monkeypatch, machine, concurrent, expected):
    monkeypatch.setattr(ray, "cluster_resources", lambda: machine)
    resources = share(concurrent)
    assert resources == Resources(*expected)
    assert resources.concurrent * resources.cpus <= machine.get("CPU", 1)
    assert resources.concurrent * resources.gpus <= machine.get("GPU", 0)


def seen(first, second):
    return first + second, torch.get_num_threads(), ray.get_runtime_context().get_assigned_resources()


def test_a_task_has_the_share_of_a_trial_and_as_many_threads_as_cpus():
    ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        resources = share(2)
        found, threads, given = ray.get(resources.task(seen, 20, ray.put(22)))
    finally:
        ray.shutdown()
    assert (found, threads) == (42, 2)
    assert given == {"CPU": 2.0, "GPU": 0.5}
