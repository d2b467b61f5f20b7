"""Segmentation losses on logits at full resolution; voxels labelled `IGNORED` count in none of them."""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.cohorts.cohort import IGNORED


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the voxels that count of -log p(label), of (B, C, D, H, W) logits and (B, D, H, W) uint8 labels."""
    return functional.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORED)


def segmentation_loss(logits: Tensor, labels: Tensor, smooth: float = 1e-5) -> Tensor:
    """Cross-entropy + soft Dice loss, MONAI's `DiceCELoss` without the background and with ignored voxels.

    Soft Dice of a scan and class is (2 sum p r + smooth) / (sum p + sum r + smooth) over its voxels; the loss
    is one minus its mean over scans and foreground classes.

    `smooth` keeps the ratio defined for a class that is neither present nor predicted.
    """
    batch, classes = logits.shape[:2]
    log_p = functional.log_softmax(logits.float().flatten(2), dim=1)
    target = labels.flatten(1).long()
    counts = target != IGNORED
    target = target.clamp(max=classes - 1)
    log_p_target = log_p.gather(1, target[:, None]).squeeze(1) * counts
    cross = -log_p_target.sum() / counts.sum()
    p = log_p.exp()
    # scatter_add adds voxel by voxel, which float32 cannot do a million times: a whole brain's loss came out 17 % off
    weight = counts.double()
    zeros = torch.zeros(batch, classes, dtype=weight.dtype, device=p.device)
    overlap = zeros.scatter_add(1, target, log_p_target.exp() * weight).to(p.dtype)
    reference = zeros.scatter_add(1, target, weight).to(p.dtype)
    predicted = (p * counts[:, None]).sum(2)
    dice = (2 * overlap + smooth) / (predicted + reference + smooth)
    return cross + 1 - dice[:, 1:].mean()
