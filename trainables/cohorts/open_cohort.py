"""From the words of a command line to a cohort: `KIND:PATH` and its label map, groups and shape."""

import re
from dataclasses import replace
from pathlib import Path

from trainables.cohorts.cache import load_cohort
from trainables.cohorts.cohort import Cohort, CohortError, Listing
from trainables.cohorts.groups import regroup
from trainables.cohorts.label_map import read_label_map
from trainables.registry import READERS

SMALLEST = 8
"""Voxels along the shortest side of a grid: the network's output stride."""


_KIND = re.compile(r"\w+(?:\.\w+)+:\w+|[^:]*")
"""A name, or `package.module:function`."""


def kind_and_path(spec: str) -> tuple[str, str]:
    """The two parts of `KIND:PATH`, where KIND may be `package.module:function`."""
    kind = _KIND.match(spec)
    assert kind is not None  # every text begins so
    return kind[0], spec[kind.end() :].removeprefix(":")


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
        spec: `KIND:PATH`, where KIND is a reader's name or `package.module:function`; `phantom` alone is the default
            phantom.
        contrast: which image of each scan; the layout's default without it.
        label_map: CSV with columns from,to,name.
        groups: CSV with columns scan,subject.
        shape: (D, H, W) of the grid in voxels.
        cache_dir: folder of the cache.

    Raises:
        CohortError: with every problem found.
    """
    kind, path = kind_and_path(spec)
    try:
        read = READERS.load(kind)
    except ValueError as error:
        raise CohortError([f"{spec!r}: KIND:PATH is needed; {error}"]) from error
    listing = read(Path(path).expanduser(), contrast)
    if not isinstance(listing, Listing):
        raise CohortError([f"{spec!r}: the reader {kind!r} returns no Listing but a {type(listing).__name__}"])
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
