"""How quickly what was forgotten comes back: by training on it, and by training on everything else.

Source: arXiv 2505.22310, where fine-tuning on retain data alone brought back what approximate methods had forgotten.
"""

import copy
import math
from dataclasses import replace

from trainables.data import TrialData, scans
from trainables.mechanics.strategy import Strategy
from trainables.med3d import SegmentationNetwork
from trainables.recipe import Recipe
from trainables.unlearning import Unlearning

MOST_STEPS, RETAIN_EPOCHS = 50, 5
_BATCH = 4


def steps_to_relearn(network: SegmentationNetwork, data: TrialData, target: float, lr: float, seed: int) -> float:
    """Steps of training on the forget subjects until their Dice is at the target.

    Infinite if `MOST_STEPS` were not enough, NaN without forget subjects.

    Args:
        network: not changed.
        data: of the trial.
        target: forget Dice, 95 % of the baseline's.
        lr: learning rate of AdamW.
        seed: of the order.
    """
    if not data.forget:
        return math.nan
    alone = replace(data, retain=data.forget, heldout=(), steering=())
    size = min(_BATCH, len(scans(data.forget)))
    steps = math.ceil(len(scans(data.forget)) / size)
    recipe = Recipe(epochs=max(1, MOST_STEPS // steps), lr=lr, retain_batch=size)
    loop = Unlearning(copy.deepcopy(network), alone, Strategy(), recipe, seed)
    if loop.evaluate()["forget_dice"] >= target:
        return 0.0
    for report in loop:
        if report.metrics["forget_dice"] >= target:
            return float(report.epoch * steps)
    return math.inf


def resurfaced_dice(network: SegmentationNetwork, data: TrialData, lr: float, seed: int) -> float:
    """Forget Dice after `RETAIN_EPOCHS` epochs of training on the retain subjects alone; the network stays."""
    recipe = Recipe(epochs=RETAIN_EPOCHS, lr=lr)
    loop = Unlearning(copy.deepcopy(network), data, Strategy(), recipe, seed, evaluate_every=RETAIN_EPOCHS)
    *_, last = loop
    return last.metrics["forget_dice"]
