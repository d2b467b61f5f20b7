"""What the machines offer and what one trial gets of it."""

from dataclasses import dataclass

import ray


@dataclass(frozen=True)
class Resources:
    """Trials at a time, and the CPUs and GPUs (fractions allowed) of each."""

    concurrent: int
    cpus: int
    gpus: float


def share(concurrent: int | None) -> Resources:
    """Divide what Ray has among the trials: one per GPU or, without GPUs, one per CPU, unless told otherwise."""
    have = ray.cluster_resources()
    cpus, gpus = int(have.get("CPU", 1)), int(have.get("GPU", 0))
    count = min(concurrent or gpus or cpus, cpus)
    return Resources(count, cpus // count, min(1.0, gpus / count))
