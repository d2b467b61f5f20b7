"""Preprocessed cohorts on disk, found again by the contents of their files and the settings."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from platformdirs import user_cache_dir

from trainables.cache_entries import cached, caching, file_sha256
from trainables.cohorts.cohort import Cohort, CohortError, Listing
from trainables.cohorts.label_map import LabelMap, class_table
from trainables.cohorts.parallel import map_parallel

PREPROCESSING = 2
"""Version of checks.py and grid.py; a higher one makes every cached cohort stale."""


def cache_dir() -> Path:
    """Where preprocessed cohorts are kept: `LETHE_CACHE`, or the user's cache folder."""
    return Path(os.environ.get("LETHE_CACHE") or user_cache_dir("lethe"))


def load_cohort(
    listing: Listing, *, label_map: LabelMap | None = None, shape: tuple[int, int, int] | None = None, cache: Path
) -> Cohort:
    """The cohort's arrays as read-only memory maps, checked and preprocessed unless the cache has them.

    Args:
        listing: what a reader found.
        label_map: merges the raw label values; the layout's own classes without it.
        shape: (D, H, W) of the grid; large enough for every scan without it.
        cache: folder under which `cohorts/<digest>` is looked up and written.

    Raises:
        CohortError: with every problem of the cohort.
    """
    digest = cohort_digest(listing, label_map, shape)
    folder = cache / "cohorts" / digest
    if not cached(folder):
        _build(folder, listing, label_map, shape)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return Cohort(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=np.load(folder / "labels.npy", mmap_mode="r"),
        subject_ids=tuple(meta["subject_ids"]),
        class_names=tuple(meta["class_names"]),
        spacing_mm=tuple(meta["spacing_mm"]),
        digest=digest,
        scans=tuple(scan for subject in listing.subjects for scan in subject.scans),
    )


def cohort_digest(listing: Listing, label_map: LabelMap | None, shape: tuple[int, int, int] | None) -> str:
    """16 hex digits over file contents, ids, grouping, classes and shape; where the files lie plays no part.

    A missing file and a problem of the layout count too: such a cohort never reaches the cache.
    """
    rows = [(subject.id, scan) for subject in listing.subjects for scan in subject.scans]
    files = [file for _, scan in rows for file in (scan.image, scan.label)]
    hashes = map_parallel(lambda file: file_sha256(file) if file.is_file() else "missing", files, "Hashing")
    content = {
        "preprocessing": PREPROCESSING,
        "scans": [(subject, scan.id, scan.channel) for subject, scan in rows],
        "files": hashes,
        "classes": sorted(listing.class_names.items()),
        "ignored": sorted(listing.ignored),
        "label_map": [sorted(label_map.values.items()), sorted(label_map.names.items())] if label_map else None,
        "shape": shape,
        "problems": listing.problems,
    }
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _build(folder: Path, listing: Listing, label_map: LabelMap | None, shape: tuple[int, int, int] | None) -> None:
    """Checks and preprocesses a cohort into `folder`, which appears only when it is complete."""
    # MONAI, torch and SciPy take seconds to import; who finds the cohort in the cache needs none of them
    from trainables.cohorts.checks import cohort_problems, inspect_scan
    from trainables.cohorts.grid import prepare_scan, study_grid

    rows = [(subject.id, scan) for subject in listing.subjects for scan in subject.scans]
    facts = map_parallel(lambda row: inspect_scan(*row), rows, "Checking")
    problems = cohort_problems(listing, facts, label_map)
    if problems:
        raise CohortError(problems)
    grid = study_grid([fact.shape for fact in facts], [fact.spacing_mm for fact in facts], shape)
    table = class_table(listing, label_map, {value for fact in facts for value in fact.values})
    with caching(folder) as temporary:
        size = (len(rows), *grid.shape)
        images = np.lib.format.open_memmap(temporary / "images.npy", "w+", np.float32, size)
        labels = np.lib.format.open_memmap(temporary / "labels.npy", "w+", np.uint8, size)

        def store(position: int) -> None:
            images[position], labels[position] = prepare_scan(rows[position][1], grid, table)

        map_parallel(store, range(len(rows)), "Preparing")
        images.flush()
        labels.flush()
        meta = {
            "subject_ids": [subject for subject, _ in rows],
            "scan_ids": [scan.id for _, scan in rows],
            "class_names": table.names,
            "spacing_mm": grid.spacing_mm,
        }
        (temporary / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
