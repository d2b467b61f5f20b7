"""Every metric on every set of subjects."""

import math
from collections.abc import Iterable, Mapping
from itertools import chain
from statistics import fmean

import torch
from torch import Tensor

from trainables.data import Subset
from trainables.device import mixed_precision
from trainables.med3d import SegmentationNetwork, upsample
from trainables.metrics.dice import dice
from trainables.scan_metric import scan_metrics
from trainables.views import QUICK

Values = dict[str, list[float]]
"""`<set>_<metric>` -> one value per subject of the set, in the set's order."""


@torch.no_grad()
def evaluate(
    network: SegmentationNetwork,
    images: Tensor,
    labels: Tensor,
    subsets: Mapping[str, Subset],
    batch: int = 4,
) -> Values:
    """Every metric of every subject of every set, and the forget subjects' Dice under views.

    `forget_dice_views` is the largest Dice of a scan as it is and under the few views of `QUICK`, where there is a
    set `forget`.

    A subject's value is the mean over its scans; a scan where a metric is undefined is left out, and a subject
    without any value gets NaN.

    Args:
        network: left in evaluation mode.
        images: (N, D, H, W) float32.
        labels: (N, D, H, W) uint8.
        subsets: by name.
        batch: scans per forward pass.
    """
    network.eval()
    order = sorted({scan for subset in subsets.values() for subject in subset for scan in subject})
    values: dict[str, dict[int, float]] = {name: {} for name in scan_metrics()}
    for start in range(0, len(order), batch):
        scans = order[start : start + batch]
        predicted = probabilities(network, images[scans])
        for name, metric in scan_metrics().items():
            values[name].update(zip(scans, metric.function(predicted, labels[scans]).tolist(), strict=True))
    measured = {
        f"{subset_name}_{name}": [nanmean(by_scan[scan] for scan in subject) for subject in subset]
        for name, by_scan in values.items()
        for subset_name, subset in subsets.items()
    }
    if "forget" in subsets:
        largest = {
            scan: _dice_under_views(network, images[[scan]], labels[[scan]]) for scan in chain(*subsets["forget"])
        }
        measured["forget_dice_views"] = [
            nanmean(nanmax(values["dice"][scan], largest[scan]) for scan in subject) for subject in subsets["forget"]
        ]
    return measured


def _dice_under_views(network: SegmentationNetwork, image: Tensor, labels: Tensor) -> float:
    """The largest Dice of a (1, D, H, W) scan under the `QUICK` views."""
    seen, truth = (torch.cat([view(volume) for view in QUICK.values()]) for volume in (image, labels))
    return nanmax(*dice(probabilities(network, seen), truth).tolist())


@torch.no_grad()
def probabilities(network: SegmentationNetwork, images: Tensor) -> Tensor:
    """(B, C, D, H, W) float32 probabilities of (B, D, H, W) images, at their resolution."""
    with mixed_precision(images.device):
        logits = upsample(network(images.unsqueeze(1)), images.shape[1:])
    return logits.float().softmax(1)


def means(values: Values) -> dict[str, float]:
    """`<set>_<metric>` -> the mean over the subjects that have a value; NaN for a set without any."""
    return {name: nanmean(by_subject) for name, by_subject in values.items()}


def nanmax(*values: float) -> float:
    """The largest of the values that are not NaN; NaN if there is none."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def nanmean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    kept = [value for value in values if not math.isnan(value)]
    return fmean(kept) if kept else math.nan
