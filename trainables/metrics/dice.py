"""The Dice coefficient of a scan, mean over the classes."""

import torch
from torch import Tensor

from trainables.cohorts.cohort import IGNORED
from trainables.scan_metric import ScanMetric


def dice(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean over the foreground classes of 2 |P n R| / (|P| + |R|), P from the argmax of the probabilities.

    A class that is absent from reference and prediction is left out of the mean; one that is absent from the
    reference only counts 0. Voxels labelled `IGNORED` count nowhere.

    Returns:
        (B,) in [0, 1]; NaN for a scan with no foreground voxel in reference and prediction.
    """
    return dice_by_class(probabilities, labels).nanmean(1)


def dice_by_class(probabilities: Tensor, labels: Tensor) -> Tensor:
    """(B, C - 1): the coefficient of each foreground class; NaN for one absent from reference and prediction."""
    batch, classes = probabilities.shape[:2]
    target = labels.flatten(1).long()
    counts = target != IGNORED
    predicted = probabilities.argmax(dim=1).flatten(1)
    pairs = torch.where(counts, target * classes + predicted, classes * classes)
    pairs = pairs + torch.arange(batch, device=pairs.device)[:, None] * (classes * classes + 1)
    confusion = torch.bincount(pairs.flatten(), minlength=batch * (classes * classes + 1))
    confusion = confusion.view(batch, -1)[:, :-1].reshape(batch, classes, classes).double()
    overlap = confusion.diagonal(dim1=1, dim2=2)
    size = confusion.sum(1) + confusion.sum(2)
    return (2 * overlap / size)[:, 1:]


METRIC = ScanMetric(dice, "Dice", better=1, low=0, high=1)
