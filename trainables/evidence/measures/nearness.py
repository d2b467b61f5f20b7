"""Whether outputs are nearer to the baseline's or to those of networks that never saw the subjects: a relative audit.

Even two retrained networks differ, so a distance alone accuses everybody.
"""

import numpy as np

from trainables.evidence.measure import Context, Measure
from trainables.evidence.measures.activation_distance import output_distances
from trainables.med3d import SegmentationNetwork


def nearness(network: SegmentationNetwork, context: Context) -> np.ndarray:
    """Of each forget subject, in [0, 1]: 1 at the baseline's outputs, 0 at those of retrained networks.

    The share of the distance to the retrained references (their mean) in its sum with that to the baseline; NaN
    where both are 0, or without a reference.
    """
    baseline, *others = (
        output_distances(network, context.network(weights), context.data, context.data.forget)
        for weights in (context.baseline, *context.retrained.values())
    )
    retrained = np.mean(others, 0) if others else np.full_like(baseline, np.nan)
    whole = retrained + baseline
    return np.divide(retrained, whole, out=np.full_like(whole, np.nan), where=whole > 0)


MEASURE = Measure(
    nearness,
    "Nearness to the baseline",
    question="How far is it from a retrained network?",
    remembered="more",
    judged=False,  # who forgets too much is as far from both
)
