"""The final weights of a trial: kept, where it is on the front, else computed again from its record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray
from safetensors.numpy import load_file

from study.plan import Plan
from study.references import BASELINE, Reference
from study.resources import Resources
from trainables.data import Sets
from trainables.evidence.examination import RecipeOf, weights_after
from trainables.trainable import WEIGHTS_FILE


def recipe_of(plan: Plan, references: Mapping[str, Reference], row: Mapping[str, Any]) -> RecipeOf:
    """What the trial of this row did."""
    knobs = {name: row[name] for name in plan.space.knobs if row[name] is not None}
    floor_dice = plan.settings.retain_floor * references[BASELINE].metrics["retain_dice"]
    return RecipeOf(row["strategy"], knobs, row["seed"], floor_dice)


def trial_weights(
    plan: Plan, references: Mapping[str, Reference], resources: Resources, row: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """A finished trial's weights, from the study's front or by running it again (on the CPU, bit for bit the same).

    Raises:
        ray.exceptions.RayError: the trial failed when it ran again.
    """
    kept = front_weights(plan.settings.folder, row["id"])
    if kept.exists():
        return load_file(kept)
    recipe = recipe_of(plan, references, row)
    baseline = references[BASELINE].weights
    sets = Sets(plan.data.retain, plan.data.forget, plan.data.heldout)
    return ray.get(resources.task(weights_after, plan.data, baseline, plan.settings.depth, sets, recipe))


def front_weights(folder: Path, trial: str) -> Path:
    """Where a study keeps the weights of a trial on its front."""
    return folder / "front" / trial / WEIGHTS_FILE
