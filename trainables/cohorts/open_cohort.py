"""From the words of a command line to a cohort: `KIND:PATH` and its label map, groups and shape."""

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path

from trainables.cohorts import readers
from trainables.cohorts.cache import load_cohort
from trainables.cohorts.cohort import Cohort, CohortError
from trainables.cohorts.groups import regroup
from trainables.cohorts.label_map import read_label_map

SMALLEST = 8
"""Voxels along the shortest side of a grid: the network's output stride."""


def kinds() -> tuple[str, ...]:
    """The layouts that can be read: one file each in readers/."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(readers.__path__)))


def open_cohort(
    spec: str,
    *,
    contrast: str | None = None,
    label_map: Path | None = None,
    groups: Path | None = None,
    shape: tuple[int, int, int] | None = None,
    cache_dir: Path,
) -> Cohort:
    """Reads, regroups, checks and preprocesses a cohort, or takes it from the cache.

    Args:
        spec: `KIND:PATH`, where KIND is one of `kinds()`; `phantom` alone is the default phantom.
        contrast: which image of each scan; the layout's default without it.
        label_map: CSV with columns from,to,name.
        groups: CSV with columns scan,subject.
        shape: (D, H, W) of the grid in voxels.
        cache_dir: folder of the cache.

    Raises:
        CohortError: with every problem found.
    """
    kind, _, path = spec.partition(":")
    if kind not in kinds():
        raise CohortError([f"{spec!r}: KIND:PATH is needed, with KIND one of {', '.join(kinds())}"])
    listing = importlib.import_module(f"{readers.__name__}.{kind}").read(Path(path).expanduser(), contrast)
    if groups:
        listing = regroup(listing, groups)
    if shape and min(shape) < SMALLEST:
        problem = f"shape must be at least {SMALLEST} voxels along each axis, got {shape}"
        listing = replace(listing, problems=(*listing.problems, problem))
    merged = None
    if label_map:
        try:
            merged = read_label_map(label_map)
        except CohortError as error:
            # without the map nobody can say which labels are unexpected: accept all, the cohort fails anyway
            listing = replace(listing, class_names={}, problems=(*listing.problems, *error.problems))
    return load_cohort(listing, label_map=merged, shape=shape, cache=cache_dir)
