"""The cohort types: what a reader finds on disk, and the arrays that trials see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

IGNORED = 255
"""Label of the voxels that count neither in a loss nor in a metric."""


class CohortError(Exception):
    """A cohort that cannot be studied; carries every problem found, one line each."""

    def __init__(self, problems: list[str]):
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Scan:
    """One image with its label map, both NIfTI files; `channel` is read where the image is 4-D."""

    id: str
    image: Path
    label: Path
    channel: int = 0


@dataclass(frozen=True)
class Subject:
    """A person. Forgetting a subject forgets all of their scans (sessions, left and right crops)."""

    id: str
    scans: tuple[Scan, ...]


@dataclass(frozen=True)
class Listing:
    """What a reader finds: subjects and the meaning of the label values, before any voxel is read.

    Attributes:
        subjects: in the order of their ids.
        class_names: label value -> class name; empty where the layout does not name its labels, and then
            every non-negative integer found is a class. 0 is background.
        ignored: label values excluded from training and evaluation.
        problems: what is wrong with the layout itself (a folder without an image, a malformed line). The files that
            it names are opened by `checks` only.
    """

    subjects: tuple[Subject, ...]
    class_names: Mapping[int, str] = field(default_factory=dict)
    ignored: frozenset[int] = frozenset()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cohort:
    """A preprocessed cohort: every scan on one grid, z-scored, ready to train on.

    Attributes:
        images: (N, D, H, W) float32, one volume per scan; may be a read-only memory map.
        labels: (N, D, H, W) uint8, classes 0..C-1 and `IGNORED`.
        subject_ids: length N, the subject that each scan belongs to.
        class_names: length C; index 0 is the background.
        spacing_mm: voxel size along (D, H, W) in millimetres.
        digest: hash of the files' contents and every preprocessing setting.
        scans: length N, the files that each came from.
    """

    images: np.ndarray
    labels: np.ndarray
    subject_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    spacing_mm: tuple[float, float, float]
    digest: str
    scans: tuple[Scan, ...] = ()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Distinct subject ids, sorted."""
        return tuple(sorted(set(self.subject_ids)))
