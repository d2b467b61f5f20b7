"""How well a network does on single subjects, as attacks on membership see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.data import Subset, TrialData
from trainables.device import mixed_precision, shared_tensor
from trainables.losses import cross_entropy
from trainables.med3d import SegmentationNetwork, upsample
from trainables.metrics.dice import dice_by_class
from trainables.metrics.mae import mae


@dataclass(frozen=True)
class Scores:
    """One value per subject, the mean over its scans. Without subjects all arrays are empty, E is then 0.

    Attributes:
        dice: (N,) mean over the foreground classes, NaN where undefined.
        class_dice: (N, C - 1).
        cross_entropy: (N,) nats per voxel.
        confidence: (N,) mean probability of the right class, in [0, 1].
        features: (N, E) the encoder's, averaged over places.
    """

    dice: np.ndarray
    class_dice: np.ndarray
    cross_entropy: np.ndarray
    confidence: np.ndarray
    features: np.ndarray


@torch.no_grad()
def score(network: SegmentationNetwork, data: TrialData, subset: Subset) -> Scores:
    """The scores of a set's subjects, the network in evaluation mode and on its own device."""
    if not subset:
        nobody = np.zeros(0)
        return Scores(nobody, np.zeros((0, data.classes - 1)), nobody, nobody, np.zeros((0, 0)))
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
        with mixed_precision(images.device):
            features = network.encoder(images[[scan]].unsqueeze(1))
            logits = upsample(network.decoder(features), images.shape[1:]).float()
        probabilities, truth = logits.softmax(1), labels[[scan]]
        class_dice = dice_by_class(probabilities, truth)[0].cpu().numpy()
        by_scan["dice"].append(nanmean(class_dice, 0))
        by_scan["class_dice"].append(class_dice)
        by_scan["cross_entropy"].append(np.array(cross_entropy(logits, truth).item()))
        by_scan["confidence"].append(np.array(1 - mae(probabilities, truth).item()))
        by_scan["features"].append(features.float().mean((2, 3, 4))[0].cpu().numpy())
    return {name: nanmean(np.stack(values), 0) for name, values in by_scan.items()}


def nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is not NaN along an axis; NaN, without a warning, where there is nothing."""
    counted = np.isfinite(values)
    sums, counts = np.where(counted, values, 0).sum(axis), counted.sum(axis)
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
