"""How far a network's outputs are from the baseline's, of each subject: what an attacker sees who holds both.

Source: Chen et al. 2021, "When Machine Unlearning Jeopardizes Privacy", arXiv 2005.02205.
"""

import numpy as np

from trainables.evidence.measure import Context, Measure
from trainables.evidence.measures.activation_distance import output_distances
from trainables.med3d import SegmentationNetwork


def change(network: SegmentationNetwork, context: Context) -> np.ndarray:
    """The distance of outputs to the baseline's, of each forget and held-out subject."""
    data = context.data
    return output_distances(network, context.network(context.baseline), data, data.forget + data.heldout)


MEASURE = Measure(
    change,
    "Change from the baseline",
    question="How far is it from a retrained network?",
    remembered="less",
    judged=False,  # the baseline is no network among others but what was changed
)
