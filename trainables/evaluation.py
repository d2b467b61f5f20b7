"""Every metric on every set of subjects, and the gaps between them."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from statistics import fmean

import torch
from torch import Tensor

from trainables import metrics as metrics_package
from trainables.data import Subset
from trainables.device import mixed_precision
from trainables.med3d import SegmentationNetwork, upsample

Metric = Callable[[Tensor, Tensor], Tensor]
"""(B, C, D, H, W) probabilities and (B, D, H, W) labels to (B,) values."""


@cache
def metric_functions() -> dict[str, Metric]:
    """Every file of trainables/metrics: its name and the function of that name."""
    names = sorted(module.name for module in iter_modules(metrics_package.__path__))
    return {name: getattr(import_module(f"{metrics_package.__name__}.{name}"), name) for name in names}


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
    """Every metric of every subject of every set, the network in evaluation mode.

    A subject's value is the mean over its scans; a scan where a metric is undefined is left out, and a subject
    without any value gets NaN.

    Args:
        network: left in evaluation mode.
        images: (N, D, H, W) float32.
        labels: (N, D, H, W) uint8.
        subsets: set name -> scan indices grouped by subject.
        batch: scans per forward pass.
    """
    network.eval()
    order = sorted({scan for subset in subsets.values() for subject in subset for scan in subject})
    values: dict[str, dict[int, float]] = {name: {} for name in metric_functions()}
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        found = probabilities(network, images[chosen])
        for name, function in metric_functions().items():
            values[name].update(zip(chosen, function(found, labels[chosen]).tolist(), strict=True))
    return {
        f"{subset_name}_{name}": [nanmean(by_scan[scan] for scan in subject) for subject in subset]
        for name, by_scan in values.items()
        for subset_name, subset in subsets.items()
    }


@torch.no_grad()
def probabilities(network: SegmentationNetwork, images: Tensor) -> Tensor:
    """(B, C, D, H, W) float32 probabilities of (B, D, H, W) images, at their resolution."""
    with mixed_precision(images.device):
        logits = upsample(network(images.unsqueeze(1)), images.shape[1:])
    return logits.float().softmax(1)


def means(values: Values) -> dict[str, float]:
    """`<set>_<metric>` -> the mean over the subjects that have a value; NaN for a set without any."""
    return {name: nanmean(by_subject) for name, by_subject in values.items()}


def gaps(found: Mapping[str, float], baseline_retain_dice: float, retrained_forget_dice: float) -> dict[str, float]:
    """What the study is about, from an epoch's metrics and the two references.

    Args:
        found: `<set>_<metric>` values.
        baseline_retain_dice: retain Dice before unlearning, in [0, 1].
        retrained_forget_dice: forget Dice of a model that never saw the forget subjects, in [0, 1].

    Returns:
        dice_gap = retain - forget Dice and mae_gap = forget - retain MAE (larger: more selective forgetting),
        retention = retain Dice / baseline's (NaN if that is 0), retrain_gap = |forget - retrained forget Dice|
        and unseen_gap = |forget - held-out Dice| (smaller: less distinguishable from never seen), the latter of
        the steering subjects where there are some.
    """
    return {
        "dice_gap": found["retain_dice"] - found["forget_dice"],
        "mae_gap": found["forget_mae"] - found["retain_mae"],
        "retention": found["retain_dice"] / baseline_retain_dice if baseline_retain_dice else math.nan,
        "retrain_gap": abs(found["forget_dice"] - retrained_forget_dice),
        "unseen_gap": abs(found["forget_dice"] - found.get("steering_dice", found["heldout_dice"])),
    }


def nanmean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if there is none."""
    kept = [value for value in values if not math.isnan(value)]
    return fmean(kept) if kept else math.nan
