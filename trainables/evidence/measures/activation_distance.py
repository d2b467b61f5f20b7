"""How far a network's outputs on the forget subjects are from those of retrained networks.

Source: Golatkar et al. 2021, arXiv 2012.13431; Chundawat et al. 2023, arXiv 2205.08096.
"""

import numpy as np
import torch

from trainables.data import Subset, TrialData, scans
from trainables.device import mixed_precision, shared_tensor
from trainables.evaluation import nanmean
from trainables.evidence.measure import Context, Measure
from trainables.med3d import SegmentationNetwork, upsample


def activation_distance(network: SegmentationNetwork, context: Context) -> float:
    """The mean distance to the retrained references on the forget subjects; NaN without any of either."""
    others = map(context.network, context.retrained.values())
    return nanmean(output_distance(network, other, context.data, context.data.forget) for other in others)


def output_distances(
    first: SegmentationNetwork, second: SegmentationNetwork, data: TrialData, subset: Subset
) -> np.ndarray:
    """(N,): of each subject by itself."""
    return np.array([output_distance(first, second, data, (subject,)) for subject in subset])


@torch.no_grad()
def output_distance(
    first: SegmentationNetwork, second: SegmentationNetwork, data: TrialData, subset: Subset
) -> float:
    """Mean over voxels and scans of the Euclidean distance of the two softmax outputs, in [0, sqrt(2)].

    NaN without a scan.
    """
    first.eval(), second.eval()
    device = next(first.parameters()).device
    distances = []
    for scan in scans(subset):
        image = shared_tensor(data.images[[scan]], device).unsqueeze(1)
        with mixed_precision(device):
            p, q = (upsample(network(image), image.shape[2:]).float().softmax(1) for network in (first, second))
        distances.append((p - q).norm(dim=1).mean().item())
    return nanmean(distances)


MEASURE = Measure(
    activation_distance,
    "Activation distance",
    question="How far is it from a retrained network?",
    remembered="more",
    judged=False,  # who forgets too much is as far away as who remembers
)
