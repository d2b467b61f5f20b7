"""What a trial sees of a cohort: two arrays and three sets of subjects, without a single subject id."""

from dataclasses import dataclass

import numpy as np

from trainables.cohorts.cohort import Cohort
from trainables.split import Split

Subset = tuple[tuple[int, ...], ...]
"""One tuple of scan indices per subject."""


@dataclass(frozen=True)
class TrialData:
    """The tensors of a study and who is retained, forgotten and held out.

    Attributes:
        images: (N, D, H, W) float32, z-scored; shared between processes, never written to.
        labels: (N, D, H, W) uint8, classes 0..C-1 and `IGNORED`.
        retain, forget, heldout: scan indices, grouped by subject.
        classes: C, the background included.
    """

    images: np.ndarray
    labels: np.ndarray
    retain: Subset
    forget: Subset
    heldout: Subset
    classes: int

    @property
    def subsets(self) -> dict[str, Subset]:
        """The three sets by name."""
        return {"retain": self.retain, "forget": self.forget, "heldout": self.heldout}


def trial_data(cohort: Cohort, split: Split) -> TrialData:
    """The cohort's arrays with the split's subjects as scan indices."""

    def subset(subjects: tuple[str, ...]) -> Subset:
        return tuple(cohort.scans_of((subject,)) for subject in subjects)

    return TrialData(
        cohort.images,
        cohort.labels,
        subset(split.retain),
        subset(split.forget),
        subset(split.heldout),
        len(cohort.class_names),
    )


def scans(subset: Subset) -> list[int]:
    """All scan indices of a set."""
    return [scan for subject in subset for scan in subject]
