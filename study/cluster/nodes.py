"""The nodes of the cluster, those that its autoscaler would start too, and what one trial gets of them."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import ray
import torch
import yaml
from ray.exceptions import OutOfMemoryError, RayTaskError

from study.records.failure import StudyError

_PATIENCE = 180.0
"""Seconds to wait for the nodes that a cluster always has."""
_PAUSE = 1.0
_ROUNDING = 1e-6
"""Three times a third of a GPU is a GPU."""


class Node(NamedTuple):
    """A machine of the cluster: its CPUs and GPUs."""

    cpus: int
    gpus: int


def nodes() -> list[Node]:
    """The machines that Ray has now."""
    return [_node(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def machines(tell: Callable[[str], None], asked: list[Node]) -> list[Node]:
    """The machines that run, and those that the autoscaler would start; waits for those that always run.

    Args:
        tell: hears what is waited for.
        asked: what the user counts on. It stands for what would be started under KubeRay, which does not say it.
    """
    if "KUBERAY_GEN_RAY_START_CMD" in os.environ:
        return nodes() + asked
    config = _autoscaling()
    groups = dict(config.get("available_node_types", {}))
    _wait_for(1 + sum(group.get("min_workers", 0) for group in groups.values()), tell)
    running = nodes()
    groups.pop(config.get("head_node_type"), None)
    return running + to_come(groups, config.get("max_workers", 0), running)


def to_come(groups: Mapping[str, Any], most: int, running: list[Node]) -> list[Node]:
    """What an autoscaler would add to the nodes that run.

    Args:
        groups: its kinds of workers by name: `resources` of one, where known, and `max_workers`.
        most: workers of all kinds at a time.
        running: the nodes now, head and workers.

    Returns:
        The largest first, as many as its limits allow.
    """
    known = {name: group for name, group in groups.items() if group.get("resources")}
    limits = {_node(group["resources"]): 0 for group in known.values()}
    for group in known.values():
        limits[_node(group["resources"])] += group.get("max_workers", most)
    present = Counter(running)
    coming = [node for node, limit in limits.items() for _ in range(limit - present[node])]
    free = most - sum(present[node] for node in limits)
    return sorted(coming, key=lambda node: (node.gpus, node.cpus), reverse=True)[: max(0, free)]


def _node(resources: Mapping[str, float]) -> Node:
    return Node(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def _autoscaling() -> dict[str, Any]:
    """The configuration of the cluster's autoscaler; empty on other nodes than its head, and without one."""
    address = ray.get_runtime_context().gcs_address
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        for word in words if f"--gcs-address={address}" in words else []:
            if word.startswith("--autoscaling-config="):
                return dict(yaml.safe_load(Path(word.partition("=")[2]).expanduser().read_text()))
    return {}


def _wait_for(count: int, tell: Callable[[str], None]) -> None:
    deadline, said = time.monotonic() + _PATIENCE, 0
    while (running := len(nodes())) < count and time.monotonic() < deadline:
        if running != said:
            tell(f"waiting for the cluster: {running} of {count} nodes there")
        said = running
        time.sleep(_PAUSE)


@dataclass(frozen=True)
class Resources:
    """Trials at a time, and the CPUs and GPUs (fractions allowed) of each."""

    concurrent: int
    cpus: int
    gpus: float

    def task(self, function: Callable[..., Any], *arguments: Any, threads: int | None = None) -> "ray.ObjectRef":
        """Start a function as a Ray task with the share of a trial, and as many threads as that or other ones."""
        task = ray.remote(_run).options(num_cpus=self.cpus, num_gpus=self.gpus)
        return task.remote(threads or self.cpus, function, *arguments)


def share(
    machines: Sequence[Node], concurrent: int | None = None, cpus: int | None = None, gpus: float | None = None
) -> Resources:
    """Divide what the nodes have among the trials, none of which is spread over two of them.

    Args:
        machines: the nodes.
        concurrent: wanted trials at a time; by default one per GPU or, without GPUs, one per CPU.
        cpus: of a trial; by default as many as it can have while all wanted trials still fit.
        gpus: of a trial; by default a whole one, or less where more trials are wanted than there are GPUs.

    Returns:
        As many trials at a time as fit, at most the wanted ones.

    Raises:
        StudyError: no node has what is asked for a trial.
    """
    all_gpus = sum(node.gpus for node in machines)
    if gpus is None:
        gpus = 1 / max(1, ceil((concurrent or all_gpus) / all_gpus)) if all_gpus else 0.0
    wanted = concurrent or (_fitting(machines, 1, gpus) if all_gpus else sum(node.cpus for node in machines)) or 1
    if cpus is None:
        most = max((node.cpus for node in machines), default=1)
        cpus = next((count for count in range(most, 1, -1) if _fitting(machines, count, gpus) >= wanted), 1)
    fitting = _fitting(machines, cpus, gpus)
    if not fitting:
        raise StudyError(
            f"a trial of {cpus} CPUs and {gpus:g} GPUs fits on no node;"
            f" they have {', '.join(f'{node.cpus} CPUs and {node.gpus} GPUs' for node in machines) or 'nothing'}"
        )
    return Resources(min(wanted, fitting), cpus, gpus)


def problem_of(error: Exception) -> str:
    """Why a Ray task has failed, in a line."""
    if isinstance(error, OutOfMemoryError):
        return "out of memory"
    reason = str(error).strip().rpartition("\n")[2]
    return reason if isinstance(error, RayTaskError) else f"{type(error).__name__}: {reason}"


def _fitting(machines: Sequence[Node], cpus: int, gpus: float) -> int:
    """How many trials fit on the nodes at once."""
    return sum(min(node.cpus // cpus, int(node.gpus / gpus + _ROUNDING) if gpus else node.cpus) for node in machines)


def _run(threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
    torch.set_num_threads(threads)
    return function(*arguments)
