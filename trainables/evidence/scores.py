"""How well a network does on single subjects, as attacks on membership see it."""

from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch

from trainables.data import Subset, TrialData
from trainables.device import mixed_precision, shared_tensor
from trainables.losses import cross_entropy
from trainables.med3d import SegmentationNetwork, upsample
from trainables.metrics.dice import dice_by_class
from trainables.metrics.mae import mae


@dataclass(frozen=True)
class Scores:
    """One value per subject, the mean over its scans.

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
    network.eval()
    device = next(network.parameters()).device
    images, labels = shared_tensor(data.images, device), shared_tensor(data.labels, device)
    found: dict[str, list[np.ndarray]] = {name: [] for name in Scores.__dataclass_fields__}
    for subject in subset:
        scans = []
        for scan in subject:
            with mixed_precision(device):
                features = network.encoder(images[[scan]].unsqueeze(1))
                logits = upsample(network.decoder(features), images.shape[1:]).float()
            p, truth = logits.softmax(1), labels[[scan]]
            scans.append(
                {
                    "class_dice": dice_by_class(p, truth)[0].cpu().numpy(),
                    "cross_entropy": cross_entropy(logits, truth).item(),
                    "confidence": 1 - mae(p, truth).item(),
                    "features": features.float().mean((2, 3, 4))[0].cpu().numpy(),
                }
            )
        for name in ("class_dice", "features"):
            found[name].append(nanmean(np.stack([scan[name] for scan in scans]), 0))
        for name in ("cross_entropy", "confidence"):
            found[name].append(np.array(fmean(scan[name] for scan in scans)))
        found["dice"].append(nanmean(np.array([nanmean(scan["class_dice"], 0) for scan in scans]), 0))
    return Scores(**{name: np.array(values) for name, values in found.items()})


def nanmean(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is not NaN along an axis; NaN, without a warning, where there is nothing."""
    counted = np.isfinite(values)
    sums, counts = np.where(counted, values, 0).sum(axis), counted.sum(axis)
    return np.divide(sums, counts, out=np.full(np.shape(sums), np.nan), where=counts > 0)
