import os

import pytest
import ray
import torch
from ray.exceptions import RayError

from study.cluster.nodes import Node, Resources, nodes, problem_of, share
from study.records.failure import StudyError

FOUR = [Node(16, 4)] * 4
UNEVEN = [Node(32, 0), Node(8, 1), Node(16, 4)]


@pytest.mark.parametrize(
    ("machines", "wanted", "expected"),
    [
        ([Node(2, 0)], {}, (2, 1, 0.0)),
        ([Node(8, 0)], {"concurrent": 3}, (3, 2, 0.0)),
        ([Node(8, 0)], {"concurrent": 1}, (1, 8, 0.0)),
        ([Node(2, 0)], {"concurrent": 9}, (2, 1, 0.0)),
        ([Node(16, 4)], {}, (4, 4, 1.0)),
        ([Node(16, 4)], {"concurrent": 8}, (8, 2, 0.5)),
        ([Node(16, 4)], {"concurrent": 6}, (6, 2, 0.5)),  # a third of three GPUs cannot be had
        ([Node(16, 4)], {"concurrent": 2}, (2, 8, 1.0)),
        ([Node(2, 4)], {}, (2, 1, 1.0)),
        (FOUR, {}, (16, 4, 1.0)),
        (FOUR, {"gpus": 1 / 3}, (48, 1, 1 / 3)),
        (FOUR, {"gpus": 0.25, "cpus": 2}, (32, 2, 0.25)),
        (FOUR, {"concurrent": 1}, (1, 16, 1.0)),
        ([Node(4, 0)] * 3, {"concurrent": 4}, (4, 2, 0.0)),
        ([Node(4, 0)] * 3, {"cpus": 3}, (3, 3, 0.0)),
        (UNEVEN, {}, (5, 4, 1.0)),
        ([Node(0, 0), Node(4, 1)], {}, (1, 4, 1.0)),  # a head that runs no trials
    ],
)
def test_nodes_are_divided_among_the_trials(machines, wanted, expected):
    resources = share(machines, **wanted)
    assert resources == Resources(*expected)
    left = [[node.cpus, node.gpus] for node in machines]
    for _ in range(resources.concurrent):  # each has its place on one node
        place = next(node for node in left if node[0] >= resources.cpus and node[1] >= resources.gpus - 1e-9)
        place[0] -= resources.cpus
        place[1] -= resources.gpus


@pytest.mark.parametrize(("machines", "wanted"), [(FOUR, {"cpus": 17}), ([Node(8, 0)], {"gpus": 0.5}), ([], {})])
def test_what_no_node_has_is_said(machines, wanted):
    with pytest.raises(StudyError, match=r"fits on no node; they have"):
        share(machines, **wanted)


def seen(first, second):
    return first + second, torch.get_num_threads(), ray.get_runtime_context().get_assigned_resources()


@pytest.fixture(scope="module")
def machine():
    """A Ray of one node, as far as it knows with a GPU."""
    ray.shutdown()
    ray.init(num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.mark.slow
def test_a_task_has_the_share_of_a_trial_and_as_many_threads_as_cpus(machine):
    assert nodes() == [Node(4, 1)]
    resources = share(nodes(), 2)
    found, threads, given = ray.get(resources.task(seen, 20, ray.put(22)))
    assert (found, threads) == (42, 2)
    assert given == {"CPU": 2.0, "GPU": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "argument", "problem"),
    [(int, "4 GB", "ValueError: invalid literal for int"), (os._exit, 1, "WorkerCrashedError: The worker died")],
)
def test_why_a_task_has_failed_is_a_line_that_names_the_error(machine, function, argument, problem):
    with pytest.raises(RayError) as failed:
        ray.get(ray.remote(max_retries=0)(lambda: function(argument)).remote())
    reason = problem_of(failed.value)
    assert reason.startswith(problem)
    assert "\n" not in reason
