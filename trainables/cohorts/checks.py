"""What is wrong with a cohort's files: every problem at once, one line each, naming subject and file."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.cohorts.cohort import IGNORED, Listing, Scan
from trainables.cohorts.label_map import LabelMap, class_table
from trainables.cohorts.volumes import UNREADABLE, open_volume, spacing_of

AFFINE_TOLERANCE = 0.1
"""Largest distance between the corners of an image and of its label map, as a share of a voxel."""
WHOLE_TOLERANCE = 1e-3
"""Labels stored with a scale slope are whole numbers up to rounding."""


@dataclass(frozen=True)
class ScanFacts:
    """What one reading of a scan's two files tells.

    Attributes:
        problems: of this scan alone; the other attributes are empty where it could not be read.
        shape: voxels along (D, H, W).
        spacing_mm: voxel size along (D, H, W).
        values: the raw label values found, ascending.
        fingerprint: hash of the image's voxels in canonical orientation.
    """

    problems: tuple[str, ...]
    shape: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    values: tuple[int, ...] = ()
    fingerprint: str = ""


def inspect_scan(subject: str, scan: Scan) -> ScanFacts:
    """Reads both files of a scan once and notes everything that does not depend on other scans."""
    image, image_problems = _read(scan.image, scan.channel)
    label, label_problems = _read(scan.label, 0)
    values: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    fingerprint = ""
    if image is not None:
        volume, voxels = image
        shape, spacing = voxels.shape[::-1], spacing_of(volume)
        fingerprint = hashlib.sha256(repr(shape).encode() + np.ascontiguousarray(voxels).tobytes()).hexdigest()
        if not image_problems and voxels.min() == voxels.max():
            image_problems.append(f"constant image (every voxel is {voxels.flat[0]:g})")
    if label is not None and not label_problems:
        values, more = _label_values(label[1])
        label_problems += more
    if image is not None and label is not None:
        label_problems += _misfit(image[0], label[0])
    lines = [f"{subject} {scan.image}: {problem}" for problem in image_problems]
    lines += [f"{subject} {scan.label}: {problem}" for problem in label_problems]
    return ScanFacts(tuple(lines), shape, spacing, values, fingerprint)


def cohort_problems(listing: Listing, facts: Sequence[ScanFacts], label_map: LabelMap | None) -> list[str]:
    """Every problem of the layout, of each scan (a fact each, in the listing's order) and of the scans together."""
    rows = [(subject.id, scan) for subject in listing.subjects for scan in subject.scans]
    table = class_table(listing, label_map, {value for fact in facts for value in fact.values if value >= 0})
    problems = [*listing.problems, *_duplicates(listing)]
    if not rows and not problems:
        problems.append("the cohort has no scan")
    for (subject, scan), fact in zip(rows, facts, strict=True):
        problems += fact.problems
        unexpected = [value for value in fact.values if value not in table.index]
        if unexpected:
            rule = f"not in {label_map.file}" if label_map else f"expected are {sorted(table.index)}"
            problems.append(f"{subject} {scan.label}: unexpected labels {unexpected} ({rule})")
        if fact.values and not unexpected and not _classes(fact, table.index) - {0}:
            problems.append(f"{subject} {scan.label}: no foreground (labels found: {list(fact.values)})")
    if len(table.names) > IGNORED:
        problems.append(f"{len(table.names)} classes; at most {IGNORED} fit, merge some with a label map")
    present = {index for fact in facts for index in _classes(fact, table.index)}
    if any(fact.values for fact in facts) and len(present) < 2:
        problems.append(f"the cohort has fewer than two classes: {[table.names[index] for index in present]}")
    return problems + _twins(rows, facts)


def _read(file: Path, channel: int) -> tuple[tuple[Any, np.ndarray] | None, list[str]]:
    """The volume with its float32 voxels (R, A, S), and what is wrong with it."""
    if not file.is_file():
        return None, ["missing"]
    try:
        volume = open_volume(file, channel)
        voxels = np.asanyarray(volume.dataobj).astype(np.float32)
    except UNREADABLE as error:
        return None, [f"unreadable ({' '.join(str(error).split()) or type(error).__name__})"]
    broken = voxels.size - np.count_nonzero(np.isfinite(voxels))
    return (volume, voxels), [f"{broken} NaN or infinite voxels"] if broken else []


def _label_values(voxels: np.ndarray) -> tuple[tuple[int, ...], list[str]]:
    values = np.unique(voxels)
    parts = values[np.abs(values - np.rint(values)) > WHOLE_TOLERANCE]
    if len(parts):
        return (), [f"labels must be whole numbers, but there are {[round(float(part), 3) for part in parts[:5]]}"]
    return tuple(int(value) for value in np.unique(np.rint(values))), []


def _misfit(image: Any, label: Any) -> list[str]:
    """Whether an image and its label map lie on the same voxels."""
    if image.shape != label.shape:
        return [f"shape mismatch: {label.shape}, but the image has {image.shape} (both as R, A, S)"]
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in image.shape], [1])).reshape(4, -1)
    apart_mm = np.linalg.norm(((image.affine - label.affine) @ corners)[:3], axis=0).max()
    if apart_mm > AFFINE_TOLERANCE * min(spacing_of(image)):
        return [f"affine mismatch: its corners lie up to {apart_mm:.3g} mm from those of the image"]
    return []


def _duplicates(listing: Listing) -> list[str]:
    subjects = Counter(subject.id for subject in listing.subjects)
    files = defaultdict(list)
    for subject in listing.subjects:
        for scan in subject.scans:
            files[scan.id].append(str(scan.image))
    return [f"{subject}: subject id used {count} times" for subject, count in subjects.items() if count > 1] + [
        f"{scan} {', '.join(images)}: duplicate scan id" for scan, images in files.items() if len(images) > 1
    ]


def _classes(fact: ScanFacts, index: dict[int, int] | Any) -> set[int]:
    """Class indices present in a scan."""
    return {index[value] for value in fact.values if value in index} - {IGNORED}


def _twins(rows: Sequence[tuple[str, Scan]], facts: Sequence[ScanFacts]) -> list[str]:
    """Images of different subjects with the same voxels: one person listed twice breaks every split."""
    same = defaultdict(list)
    for (subject, scan), fact in zip(rows, facts, strict=True):
        if fact.fingerprint:
            same[fact.fingerprint].append((subject, scan.image))
    return [
        "identical voxels in different subjects: " + ", ".join(f"{subject} {file}" for subject, file in twins)
        for twins in same.values()
        if len({subject for subject, _ in twins}) > 1
    ]
