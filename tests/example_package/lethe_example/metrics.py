"""A metric: what is measured of each scan, and how its values are to be read."""

from torch import Tensor

from trainables.cohorts.cohort import IGNORED
from trainables.scan_metric import ScanMetric


def volume_error(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(B,): how many voxels too many or too few are called foreground, in thousands."""
    counts = labels != IGNORED
    predicted = (probabilities.argmax(1) > 0) & counts
    actual = (labels > 0) & counts
    return (predicted.sum((1, 2, 3)) - actual.sum((1, 2, 3))).abs() / 1000


VOLUME_ERROR = ScanMetric(volume_error, "volume error", better=-1, low=0, unit="thousand voxels")
