"""Surfaces of the segmentations of networks that are examined: too dear for every epoch of every trial."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from trainables.cohorts.cohort import IGNORED
from trainables.data import TrialData, scans
from trainables.device import shared_tensor
from trainables.evaluation import probabilities
from trainables.med3d import SegmentationNetwork

TOLERANCE_MM = 2.0
"""Distance within which two surfaces agree."""


def quality(network: SegmentationNetwork, data: TrialData, spacing_mm: Sequence[float]) -> dict[str, float]:
    """`<set>_hd95` (mm), `<set>_surface_dice` and `<set>_empty` of every set, by MONAI.

    The first two are means over scans and the foreground classes that reference and prediction have; `empty` counts
    the classes of scans that the reference has and the prediction has not at all. NaN for a set of nobody.
    """
    network.eval()
    device = next(network.parameters()).device
    images, labels = shared_tensor(data.images, device), shared_tensor(data.labels, device)
    found: dict[str, float] = {}
    for name, subset in data.subsets.items():
        rows = [_scan(network, images[[scan]], labels[[scan]], data.classes, spacing_mm) for scan in scans(subset)]
        table = np.concatenate(rows) if rows else np.full((1, 3), np.nan)
        for column, values in zip(("hd95", "surface_dice"), table.T[:2], strict=True):
            defined = values[np.isfinite(values)]
            found[f"{name}_{column}"] = float(defined.mean()) if len(defined) else np.nan
        found[f"{name}_empty"] = float(table[:, 2].sum())
    return found


@torch.no_grad()
def _scan(
    network: SegmentationNetwork, image: Tensor, labels: Tensor, classes: int, spacing: Sequence[float]
) -> np.ndarray:
    """(C - 1, 3): of each foreground class of a (1, D, H, W) scan; NaN where it has no surface in one of the two."""
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    counts = labels != IGNORED
    maps = [volume * counts for volume in (probabilities(network, image).argmax(1), labels)]
    predicted, truth = (one_hot(volume.long(), classes).movedim(-1, 1).cpu() for volume in maps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of every class that one of them lacks
        distances = compute_hausdorff_distance(predicted, truth, percentile=95, spacing=list(spacing))[0]
        agreed = compute_surface_dice(predicted, truth, [TOLERANCE_MM] * (classes - 1), spacing=list(spacing))[0]
    there = [volume.flatten(2).any(2)[0, 1:] for volume in (predicted, truth)]
    both = (there[0] & there[1]).double().where(there[0] & there[1], torch.nan)
    return torch.stack([distances * both, agreed * both, (there[1] & ~there[0]).double()], 1).numpy()
