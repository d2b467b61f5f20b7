"""The final weights of a trial: kept, where it is on the front, else computed again from its record."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from study.cluster.joining import cluster, trial_share
from study.cluster.shares import Resources
from study.networks.references import (
    Reference,
    fit_networks,
    lacking,
    reference_digests,
    reference_fits,
    stored_weights,
)
from study.planning.plan import Plan, make_plan
from study.records.failure import StudyError
from study.records.reading import recorded_settings
from study.records.references import BASELINE
from trainables.cohorts.cache import cache_dir
from trainables.data import Sets
from trainables.evidence.measurements import RecipeOf, weights_after
from trainables.trainable import WEIGHTS_FILE


def recipe_of(plan: Plan, references: Mapping[str, Reference], row: Mapping[str, Any]) -> RecipeOf:
    """What the trial of this row did."""
    knobs = {name: row[name] for name in plan.space.knobs if row[name] is not None}
    floor_dice = plan.settings.retain_floor * references[BASELINE].metrics["retain_dice"]
    return RecipeOf(row["strategy"], knobs, row["seed"], floor_dice)


def trial_weights(
    plan: Plan, references: Mapping[str, Reference], resources: Resources, row: Mapping[str, Any]
) -> ray.ObjectRef:
    """A finished trial's weights, in the object store or on their way there.

    They come from the study's front or, where they were not kept or the file is damaged, from running the trial again
    (on the CPU, bit for bit the same).
    """
    kept = kept_weights(plan.settings.folder, row["id"])
    if kept is not None:
        return ray.put(kept)
    recipe = recipe_of(plan, references, row)
    sets = Sets(plan.data.retain, plan.data.forget, plan.data.heldout)
    return resources.task(weights_after, plan.shared, references[BASELINE].shared, plan.settings.depth, sets, recipe)


def front_weights(folder: Path, trial: str) -> Path:
    """Where a study keeps the weights of a trial on its front."""
    return folder / "front" / trial / WEIGHTS_FILE


def kept_weights(folder: Path, trial: str) -> dict[str, np.ndarray] | None:
    """The weights that a study keeps of a trial; None without any, or if their file is damaged."""
    with contextlib.suppress(OSError, SafetensorError):
        return dict(load_file(front_weights(folder, trial)))
    return None


class Networks(NamedTuple):
    """The plan of a study, and the weights before and after a trial."""

    plan: Plan
    baseline: dict[str, np.ndarray]
    unlearned: dict[str, np.ndarray]


def networks_again(record: Mapping[str, Any], folder: Path, row: Mapping[str, Any]) -> Networks:
    """The baseline and a finished trial of a recorded study; the cohort must still be there.

    What was not kept is computed again, on a Ray of its own.

    Args:
        record: study.json.
        folder: of the study.
        row: of the trial, in the trial table.

    Raises:
        StudyError: the cohort cannot be read, or is another one than the study's, or the baseline would be another.
    """
    settings = recorded_settings(folder)
    plan = make_plan(settings)
    if any(list(getattr(plan.split, name)) != subjects for name, subjects in record["split"].items()):
        raise StudyError([f"study {folder.name!r} was made with another LETHE_CACHE: its key gives other pseudonyms"])
    fits = {BASELINE: reference_fits(plan)[BASELINE]}
    digests = reference_digests(plan, fits, record["references"], cache_dir())
    kept = kept_weights(folder, row["id"])
    if kept is not None and not lacking(digests, cache_dir()):
        return Networks(plan, stored_weights(cache_dir(), digests[BASELINE]), kept)
    here = replace(settings, address="", verbose=False, cpus_per_trial=None, gpus_per_trial=None)
    with cluster(here, lambda text: None) as there:
        resources = trial_share(here, there)
        references = fit_networks(plan, fits, digests, cache_dir(), resources, lambda name, report: None)
        unlearned = dict(ray.get(trial_weights(plan, references, resources, row)))
        return Networks(plan, references[BASELINE].weights, unlearned)
