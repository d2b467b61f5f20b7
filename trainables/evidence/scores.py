"""How well a network does on single subjects, as attacks on membership see it, and under views of their scans."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.cohorts.cohort import IGNORED
from trainables.data import Subset, TrialData
from trainables.device import mixed_precision, shared_tensor
from trainables.evaluation import probabilities
from trainables.med3d import SegmentationNetwork, upsample
from trainables.metrics.dice import dice_by_class
from trainables.metrics.mae import mae
from trainables.views import MIRRORINGS, VIEWS

_BATCH = 4
"""Views of a scan that go through the network together."""


@dataclass(frozen=True)
class Scores:
    """One value per subject, the mean over its scans. Without subjects all arrays are empty, E is then 0.

    Attributes:
        dice: (N,) mean over the foreground classes, NaN where undefined.
        class_dice: (N, C - 1).
        cross_entropy: (N,) nats per voxel.
        worst_cross_entropy: (N,) the same over the tenth of the voxels where it is largest.
        confidence: (N,) mean probability of the right class, in [0, 1].
        features: (N, E) the encoder's, averaged over places.
        dice_views: (N,) the largest Dice of a scan as it is, under any of `VIEWS`, and of a prediction averaged over
            mirrored passes.
        cross_entropy_views: (N,) the smallest cross-entropy of the same.
    """

    dice: np.ndarray
    class_dice: np.ndarray
    cross_entropy: np.ndarray
    worst_cross_entropy: np.ndarray
    confidence: np.ndarray
    features: np.ndarray
    dice_views: np.ndarray
    cross_entropy_views: np.ndarray

    def __getitem__(self, places: slice) -> "Scores":
        """Those of some of the subjects."""
        return Scores(**{name: values[places] for name, values in vars(self).items()})


@torch.no_grad()
def score(network: SegmentationNetwork, data: TrialData, subset: Subset) -> Scores:
    """The scores of a set's subjects, the network in evaluation mode and on its own device."""
    if not subset:
        nobody = dict.fromkeys(Scores.__dataclass_fields__, np.zeros(0))
        return Scores(**{**nobody, "class_dice": np.zeros((0, data.classes - 1)), "features": np.zeros((0, 0))})
    network.eval()
    device = next(network.parameters()).device
    images, labels = shared_tensor(data.images, device), shared_tensor(data.labels, device)
    subjects = [_score_subject(network, images, labels, scans) for scans in subset]
    return Scores(**{name: np.stack([subject[name] for subject in subjects]) for name in subjects[0]})


def _score_subject(
    network: SegmentationNetwork, images: Tensor, labels: Tensor, scans: Sequence[int]
) -> dict[str, np.ndarray]:
    """The fields of `Scores` for one subject."""
    by_scan: dict[str, list[np.ndarray]] = {name: [] for name in Scores.__dataclass_fields__}
    for scan in scans:
        for name, value in _score_scan(network, images[[scan]], labels[[scan]]).items():
            by_scan[name].append(value.cpu().numpy())
    return {name: nanmean(np.stack(values), 0) for name, values in by_scan.items()}


def _score_scan(network: SegmentationNetwork, image: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """The fields of `Scores` for one scan, (1, D, H, W) image and labels."""
    with mixed_precision(image.device):
        features = network.encoder(image.unsqueeze(1))
        logits = upsample(network.decoder(features), image.shape[1:])
    predicted = logits.float().softmax(1)
    loss, class_dice = _losses(predicted, truth), dice_by_class(predicted, truth)
    counted = loss[truth != IGNORED]
    mirrored = torch.stack([view(probabilities(network, view(image))) for view in MIRRORINGS]).mean(0)
    seen = [_dice_and_loss(predicted, truth), _dice_and_loss(mirrored, truth)]
    views = list(VIEWS.values())
    for start in range(0, len(views), _BATCH):
        some = views[start : start + _BATCH]
        labels = torch.cat([view(truth) for view in some])
        seen.append(_dice_and_loss(probabilities(network, torch.cat([view(image) for view in some])), labels))
    dice, losses = (torch.cat(values) for values in zip(*seen, strict=True))
    return {
        "dice": class_dice.nanmean(),
        "class_dice": class_dice[0],
        "cross_entropy": counted.mean(),
        "worst_cross_entropy": counted.topk(math.ceil(len(counted) / 10)).values.mean(),
        "confidence": 1 - mae(predicted, truth)[0],
        "features": features.float().mean((2, 3, 4))[0],
        "dice_views": dice[dice.isfinite()].max() if dice.isfinite().any() else dice[0],
        "cross_entropy_views": losses.min(),
    }


def _dice_and_loss(predicted: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) Dice and (B,) mean cross-entropy of (B, C, D, H, W) probabilities."""
    counts = labels != IGNORED
    losses = (_losses(predicted, labels) * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3))
    return dice_by_class(predicted, labels).nanmean(1), losses


def _losses(predicted: Tensor, labels: Tensor) -> Tensor:
    """(B, D, H, W) nats: -log of the label's probability; of no meaning where the label is `IGNORED`."""
    tiny = torch.finfo(predicted.dtype).tiny
    return functional.nll_loss(predicted.clamp(min=tiny).log(), labels.long(), reduction="none", ignore_index=IGNORED)


def nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is not NaN along an axis; NaN, without a warning, where there is nothing."""
    counted = np.isfinite(values)
    sums, counts = np.where(counted, values, 0).sum(axis), counted.sum(axis)
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
