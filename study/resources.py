"""What the machines offer and what one trial gets of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import torch


@dataclass(frozen=True)
class Resources:
    """Trials at a time, and the CPUs and GPUs (fractions allowed) of each."""

    concurrent: int
    cpus: int
    gpus: float

    def task(self, function: Callable[..., Any], *arguments: Any) -> "ray.ObjectRef":
        """Start a function as a Ray task with the share of a trial."""
        return (
            ray.remote(_run).options(num_cpus=self.cpus, num_gpus=self.gpus).remote(self.cpus, function, *arguments)
        )


def share(concurrent: int | None) -> Resources:
    """Divide what Ray has among the trials: one per GPU or, without GPUs, one per CPU, unless told otherwise."""
    have = ray.cluster_resources()
    cpus, gpus = int(have.get("CPU", 1)), int(have.get("GPU", 0))
    count = min(concurrent or gpus or cpus, cpus)
    return Resources(count, cpus // count, min(1.0, gpus / count))


def _run(threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
    torch.set_num_threads(threads)
    return function(*arguments)
