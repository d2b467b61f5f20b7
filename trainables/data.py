"""What a trial sees of a cohort: two arrays and three sets of subjects, without a single subject id."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from trainables.cohorts.cohort import Cohort
from trainables.split import Split

Subset = tuple[tuple[int, ...], ...]
"""One tuple of scan indices per subject."""


class Sets(NamedTuple):
    """Scan indices by set, grouped by subject."""

    retain: Subset
    forget: Subset
    heldout: Subset = ()
    steering: Subset = ()


@dataclass(frozen=True)
class TrialData:
    """The arrays of a study and who is retained, forgotten and held out.

    Attributes:
        images: (N, D, H, W) float32, z-scored; shared between processes, never written to.
        labels: (N, D, H, W) uint8, classes 0..C-1 and `IGNORED`.
        classes: C, the background included.
        steering: held-out subjects that steer a search and are no part of `heldout`; mostly none.
    """

    images: np.ndarray
    labels: np.ndarray
    retain: Subset
    forget: Subset
    heldout: Subset
    classes: int
    steering: Subset = ()

    @property
    def subsets(self) -> dict[str, Subset]:
        """The sets by name."""
        sets = {"retain": self.retain, "forget": self.forget, "heldout": self.heldout}
        return {**sets, "steering": self.steering} if self.steering else sets

    def forget_at(self, places: Sequence[int]) -> Subset:
        """The forget subjects at these places of their set."""
        return tuple(self.forget[place] for place in places)

    def with_sets(self, sets: Sets) -> "TrialData":
        """The same arrays, grouped otherwise."""
        return replace(self, **sets._asdict())


def trial_data(cohort: Cohort, split: Split) -> TrialData:
    """The cohort's arrays with the split's subjects as scan indices."""

    def subset(subjects: tuple[str, ...]) -> Subset:
        return tuple(
            tuple(scan for scan, subject in enumerate(cohort.subject_ids) if subject == name) for name in subjects
        )

    return TrialData(
        cohort.images,
        cohort.labels,
        subset(split.retain),
        subset(split.forget),
        subset(split.heldout),
        len(cohort.class_names),
        subset(split.steering),
    )


def scans(subset: Subset) -> list[int]:
    """All scan indices of a set."""
    return [scan for subject in subset for scan in subject]
