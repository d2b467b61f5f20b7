"""The nodes of the cluster: those that run, and those that its autoscaler would start."""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import ray
import yaml

_PATIENCE = 180.0
"""Seconds to wait for the nodes that a cluster always has."""
_PAUSE = 1.0


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
