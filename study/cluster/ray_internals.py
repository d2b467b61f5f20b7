"""What Ray tells through private attributes, and in the words of its messages.

tests/study/cluster/test_ray_internals.py asks a running Ray for all of it: it fails with a version that changes any.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.exceptions import OutOfMemoryError
from ray.tune.experiment import Trial

OUT_OF_MEMORY = re.compile(r"OutOfMemoryError|MemoryError|can't allocate memory|running low on memory")
"""In the log of a trial that took more memory than its GPU or node has."""

LOST = re.compile(r"The actor (died unexpectedly|\w+ is unavailable)")
"""In the log of a trial whose process or node is gone."""


def session_folder(node: Mapping[str, Any]) -> str:
    """Where a node of `ray.nodes()` has its files: its logs, and what its object store spills."""
    return str(Path(node["RayletSocketName"]).parents[1])


def actor_of(trial: Trial) -> str:
    """Id of the actor that runs a trial of Tune."""
    return str(trial.temporary_state.ray_actor._actor_id.hex())


def killed_actors(error: OutOfMemoryError) -> list[str]:
    """Ids of the actors that Ray has killed because their node ran low on memory; tasks are not among them."""
    return re.findall(r"Selected to kill: \(Actor\((\w+)", str(error))
