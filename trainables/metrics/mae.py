"""The mean absolute error of a scan's probabilities."""

from torch import Tensor

from trainables.cohorts.cohort import IGNORED
from trainables.scan_metric import ScanMetric


def mae(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean over the voxels that count of 1/2 sum_c |p_c - onehot_c|, which is 1 - p(label): (B,) in [0, 1].

    For probabilities that sum to one, the label's own class misses 1 - p(label) and the other classes hold
    just as much, hence the identity. It is independent of the label numbering and, for two classes, |p - y|.
    """
    counts = labels != IGNORED
    target = labels.long() * counts
    missed = 1 - probabilities.gather(1, target[:, None]).squeeze(1)
    return (missed * counts).sum((1, 2, 3), dtype=missed.dtype) / counts.sum((1, 2, 3))


METRIC = ScanMetric(mae, "MAE", better=-1, low=0, high=1)
