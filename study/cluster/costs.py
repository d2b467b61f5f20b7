"""What a study will take: a trial's step tried on the nodes, and from it shares of GPUs and CPUs, and time."""

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from statistics import fmean
from typing import Any

import ray

from search_spaces.space import Suite
from study.cluster.nodes import Node, Resources
from study.planning.plan import Plan
from study.records.failure import StudyError
from study.records.settings import StudySettings
from trainables.cost import CPU, Cost, trial_cost
from trainables.data import scans
from trainables.recipe import Recipe

HEADROOM = 0.1
"""Share of a device's memory that is left free."""


def measured_costs(plan: Plan, resources: Resources) -> list[Cost]:
    """What the trials that need the most memory cost on each kind of GPU there is now, or on a CPU node."""
    names = {name for node in ray.nodes() if node["Alive"] for name in node["Resources"]}
    kinds = sorted(name for name in names if name.startswith("accelerator_type:")) if resources.gpus else []
    places: list[dict[str, float]] = [{kind: 0.001} for kind in kinds] or [{}]
    task = ray.remote(max_retries=0)(trial_cost)  # else Ray tries on where memory is short
    share = {"num_cpus": resources.cpus, "num_gpus": resources.gpus}
    arguments = plan.shared, plan.settings.depth, _heaviest(plan), resources.cpus
    costs: list[Cost] = ray.get([task.options(**share, resources=place).remote(*arguments) for place in places])
    return costs


def fitting(cost: Cost) -> int:
    """How many trials a device's memory holds, with head-room.

    Raises:
        StudyError: not even one.
    """
    count = int(cost.capacity * (1 - HEADROOM) / cost.memory)
    if not count:
        raise StudyError(
            f"a trial takes {cost.memory / 2**30:.1f} GiB of {cost.device}'s {cost.capacity / 2**30:.1f}:"
            " choose a smaller --shape or --depth"
        )
    return count


def packed(settings: StudySettings, costs: Sequence[Cost], nodes: Sequence[Node]) -> StudySettings:
    """The settings with numbers in place of `auto`: as many trials a device as the smallest one's memory holds.

    Raises:
        StudyError: no device holds a trial.
    """
    if not costs or "auto" not in (settings.cpus_per_trial, settings.gpus_per_trial):
        return settings
    most = min(map(fitting, costs))
    if settings.gpus_per_trial == "auto":
        settings = replace(settings, gpus_per_trial=None if costs[0].device == CPU else 1 / most)
    if settings.cpus_per_trial == "auto":
        settings = replace(settings, cpus_per_trial=max(ceil(node.cpus / most) for node in nodes if node.cpus))
    return settings


def duration(plan: Plan, costs: Sequence[Cost], concurrent: int, fits: int, trials: int) -> float:
    """Seconds until the last of some reference fits and trials ends, about; what evidence takes comes on top."""
    data, train = plan.data, max(cost.train_seconds for cost in costs)
    evaluate = max(cost.evaluate_seconds for cost in costs)
    evaluation = sum(len(scans(some)) for some in data.subsets.values()) * evaluate
    retain, forget = len(scans(data.retain)), len(scans(data.forget))
    fit = plan.settings.baseline_epochs * ((retain + forget) * train + evaluation / 5)
    epochs = max(plan.space.horizons) if isinstance(plan.space, Suite) else fmean(plan.space.epochs)
    trial = epochs * (retain * train + evaluation)
    return ceil(fits / concurrent) * fit + ceil(trials / concurrent) * trial


def _heaviest(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """The trials that need the most memory: of a space those with the largest batch, of a suite all."""
    space = plan.space
    if isinstance(space, Suite):
        return [(entry.strategy, space.knobs_of(entry)) for entry in space.entries]
    return [(space.strategy, max(space.corners, key=_batch))]


def _batch(knobs: dict[str, Any]) -> int:
    return sum(knobs.get(name, getattr(Recipe, name)) for name in ("retain_batch", "forget_batch"))
