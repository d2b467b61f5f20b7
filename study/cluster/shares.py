"""What the nodes offer and what one trial gets of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import ray
import torch
from ray.exceptions import OutOfMemoryError, RayTaskError

from study.cluster.nodes import Node
from study.records.failure import StudyError

_ROUNDING = 1e-6
"""Three times a third of a GPU is a GPU."""


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
