"""How quickly the forget subjects are learned again: a network that still knows them needs few steps."""

import math
from dataclasses import replace

from trainables.data import scans
from trainables.evidence.measure import Context, Measure
from trainables.mechanics.strategy import Strategy
from trainables.med3d import SegmentationNetwork
from trainables.recipe import Recipe
from trainables.unlearning import Unlearning

MOST_STEPS = 50
RELEARNED = 0.95
"""Share of the baseline's forget Dice at which the forget subjects count as learned again."""

_BATCH = 4


def relearn_steps(network: SegmentationNetwork, context: Context) -> float:
    """Steps of AdamW on the forget subjects alone until their Dice is at `RELEARNED` of the baseline's.

    Infinite if `MOST_STEPS` were not enough, NaN without forget subjects.
    """
    data, target = context.data, RELEARNED * context.baseline_dice
    count = len(scans(data.forget))
    if not count:
        return math.nan
    alone = replace(data, retain=data.forget, heldout=(), steering=())
    size = min(_BATCH, count)
    steps = math.ceil(count / size)
    recipe = Recipe(epochs=max(1, MOST_STEPS // steps), lr=context.lr, retain_batch=size)
    loop = Unlearning(network, alone, Strategy(), recipe, context.seed)
    if loop.evaluate()["forget_dice"] >= target:
        return 0.0
    for report in loop:
        if report.metrics["forget_dice"] >= target:
            return float(report.epoch * steps)
    return math.inf


MEASURE = Measure(
    relearn_steps, "Relearning steps", question="Do they come back?", remembered="less", unit="steps", scale="log"
)
