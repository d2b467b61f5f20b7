"""How much of the plane of retain and forget Dice a set of trials covers."""

import numpy as np


def hypervolume(retain: np.ndarray, forget: np.ndarray) -> float:
    """Area that the points dominate, exactly: of the unit square's points with less retain and more forget Dice.

    Args:
        retain: (N,) retain Dice in [0, 1]; NaN and what does not go with a finite forget Dice count for nothing.
        forget: (N,) forget Dice in [0, 1].

    Returns:
        In [0, 1]; 0 for no points. The reference point is retain Dice 0, forget Dice 1.
    """
    known = np.isfinite(retain) & np.isfinite(forget)
    order = np.argsort(forget[known], kind="stable")
    heights = np.maximum.accumulate(np.clip(retain[known][order], 0, 1)) if known.any() else np.empty(0)
    edges = np.append(np.clip(forget[known][order], 0, 1), 1.0)
    return float((heights * np.diff(edges)).sum())
