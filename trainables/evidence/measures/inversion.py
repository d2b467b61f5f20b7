"""Model inversion: how much of a subject is in an image for which the network gives that subject's labels.

Source: Fredrikson et al. 2015, doi 10.1145/2810103.2813677. No voxel leaves the measurement, only its numbers.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.cohorts.cohort import IGNORED
from trainables.data import scans
from trainables.device import mixed_precision, shared_tensor
from trainables.evidence.measure import Context, Measure
from trainables.evidence.scores import nanmean
from trainables.med3d import SegmentationNetwork, upsample

STEPS = 10
"""Of Adam: enough for the network to give the labels as well as it gives them for the subjects' own images."""

_LR, _PULL, _BATCH = 0.1, 0.01, 4
"""In z-scored intensities; weight of the mean squared distance to the start; scans at a time."""


def inversion(network: SegmentationNetwork, context: Context) -> np.ndarray:
    """Of each forget and held-out subject: how much more the image found for its labels is like it than like others.

    What the search changed in the retain subjects' mean image is correlated, over voxels, with what sets a scan apart
    from that mean. The mean correlation with the other subjects' scans is taken from that with the subject's own. In
    [-2, 2]; NaN without another subject.
    """
    data = context.data
    device, people = next(network.parameters()).device, data.forget + data.heldout
    images, labels = (shared_tensor(array, device) for array in (data.images, data.labels))
    mean, batches = images[scans(data.retain)].mean(0), torch.tensor(scans(people), dtype=torch.long).split(_BATCH)
    network.eval().requires_grad_(False)
    found = torch.cat([_found(network, mean, labels[batch]) for batch in batches])
    alike = (_unit(found - mean) @ _unit(images[scans(people)] - mean).T).cpu().numpy()
    owner = np.repeat(np.arange(len(people)), [len(person) for person in people])
    others = np.where(owner[:, None] == owner, np.nan, alike)
    scores = alike.diagonal() - nanmean(others, 1)
    return np.array([nanmean(scores[owner == place], 0) for place in range(len(people))])


def _found(network: SegmentationNetwork, start: Tensor, labels: Tensor) -> Tensor:
    """(B, D, H, W) images, from (D, H, W), for which the network gives the (B, D, H, W) labels."""
    images = start.repeat(len(labels), 1, 1, 1).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=_LR)
    for _ in range(STEPS):
        with mixed_precision(images.device):
            logits = upsample(network(images.unsqueeze(1)), start.shape)
        losses = functional.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORED, reduction="none")
        optimizer.zero_grad()
        (losses + _PULL * (images - start).square()).mean((1, 2, 3)).sum().backward()
        optimizer.step()
    return images.detach()


def _unit(volumes: Tensor) -> Tensor:
    """(N, voxels) centred, of length one."""
    flat = volumes.flatten(1)
    return functional.normalize(flat - flat.mean(1, keepdim=True))


MEASURE = Measure(
    inversion,
    "Likeness of the inversion",
    question="Can their images be read out of it?",
    remembered="more",
)
