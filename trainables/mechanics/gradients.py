"""What gradients say about weights: the Fisher information and saliency of sets of scans."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainables.losses import cross_entropy
from trainables.mechanics.step import Setting
from trainables.med3d import upsample


def gradients(setting: Setting, scans: Sequence[int], power: int) -> dict[str, Tensor]:
    """The mean over scans of each scan's gradient of the cross-entropy, raised to a power, by parameter.

    The network is in evaluation mode, so that its running statistics stay and scans do not mix.

    Their own labels are the targets; the square is the diagonal of the empirical Fisher information.
    """
    network = setting.network.eval()
    parameters = dict(network.named_parameters())
    sums = {name: torch.zeros_like(value) for name, value in parameters.items()}
    for scan in scans:
        batch = setting.batch([scan])
        loss = cross_entropy(upsample(network(batch.images), batch.images.shape[2:]), batch.labels)
        for name, gradient in zip(sums, torch.autograd.grad(loss, list(parameters.values())), strict=True):
            sums[name] += gradient**power / len(scans)
    return sums
