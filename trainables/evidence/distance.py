"""How far two networks' outputs are apart."""

import torch

from trainables.data import Subset, TrialData, scans
from trainables.device import mixed_precision, shared_tensor
from trainables.evaluation import nanmean
from trainables.med3d import SegmentationNetwork, upsample


@torch.no_grad()
def activation_distance(
    first: SegmentationNetwork, second: SegmentationNetwork, data: TrialData, on: Subset
) -> float:
    """Mean over voxels and scans of the Euclidean distance of the two softmax outputs, in [0, sqrt(2)].

    NaN without a scan.

    Source: Golatkar et al. 2021, arXiv 2012.13431; Chundawat et al. 2023, arXiv 2205.08096.
    """
    first.eval(), second.eval()
    device = next(first.parameters()).device
    distances = []
    for scan in scans(on):
        image = shared_tensor(data.images[[scan]], device).unsqueeze(1)
        with mixed_precision(device):
            p, q = (upsample(network(image), image.shape[2:]).float().softmax(1) for network in (first, second))
        distances.append((p - q).norm(dim=1).mean().item())
    return nanmean(distances)
