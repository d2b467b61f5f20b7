"""The knee of a front: where giving up a little of one goal no longer gains much of the other."""

import numpy as np


def knee(scores: np.ndarray) -> int | None:
    """The place of the point furthest above the line between the front's two ends, both goals scaled to [0, 1].

    Source: Das, "On characterizing the knee of the Pareto curve", Structural Optimization 18, 1999.

    Args:
        scores: (N, 2) of a front, larger is better in each column.

    Returns:
        None for a front without a point that lies above the line.
    """
    if len(scores) < 3:
        return None
    low, high = scores.min(0), scores.max(0)
    if (high == low).any():
        return None
    above = ((scores - low) / (high - low)).sum(1) - 1  # the ends are (0, 1) and (1, 0)
    best = int(np.argmax(above))
    return best if above[best] > 1e-9 else None
