"""From the words of a command line to a cohort: `KIND:PATH` and its label map, groups and shape."""

import csv
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from trainables.cohorts.cache import load_cohort
from trainables.cohorts.cohort import Cohort, CohortError, Listing, Subject
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
        listing = _with_problems(listing, [f"shape must be at least {SMALLEST} voxels along each axis, got {shape}"])
    merged = None
    if label_map:
        try:
            merged = read_label_map(label_map)
        except CohortError as error:
            # without the map nobody can say which labels are unexpected: accept all, the cohort fails anyway
            listing = _with_problems(replace(listing, class_names={}), error.problems)
    return load_cohort(listing, label_map=merged, shape=shape, cache=cache_dir)


def regroup(listing: Listing, groups: Path) -> Listing:
    """The same scans under the subjects of a CSV (`case` or `scan`, and `subject`), or the file's problems added."""
    if not groups.is_file():
        return _with_problems(listing, [f"{groups}: no such file (groups are needed)"])
    with groups.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines, restval="")
        key = next((name for name in ("case", "scan") if name in (rows.fieldnames or ())), None)
        if key is None or "subject" not in (rows.fieldnames or ()):
            return _with_problems(listing, [f"{groups}: columns case,subject or scan,subject are needed"])
        pairs = [(row[key].strip(), row["subject"].strip()) for row in rows]
    subject_of = dict(pairs)
    scans = [scan for subject in listing.subjects for scan in subject.scans]
    known = [scan.id for scan in scans]
    problems = [f"{scan} {groups}: listed {n} times" for scan, n in Counter(s for s, _ in pairs).items() if n > 1]
    problems += [f"{scan} {groups}: has no subject" for scan, subject in pairs if not subject]
    problems += [f"{scan} {groups}: no such scan in the cohort" for scan in subject_of if scan not in known]
    problems += [f"{scan} {groups}: this scan is not listed" for scan in known if scan not in subject_of]
    if problems:
        return _with_problems(listing, problems)
    subjects = tuple(
        Subject(name, tuple(scan for scan in scans if subject_of[scan.id] == name))
        for name in sorted(set(subject_of.values()))
    )
    return replace(listing, subjects=subjects)


def _with_problems(listing: Listing, problems: list[str]) -> Listing:
    return replace(listing, problems=(*listing.problems, *problems))
