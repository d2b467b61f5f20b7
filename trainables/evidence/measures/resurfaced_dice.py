"""Whether the forget subjects come back by training on the others.

Source: arXiv 2505.22310, where fine-tuning on retain data alone brought back what approximate methods had forgotten.
"""

import numpy as np

from trainables.evidence.measure import Context, Measure
from trainables.mechanics.strategy import Strategy
from trainables.med3d import SegmentationNetwork
from trainables.recipe import Recipe
from trainables.unlearning import Unlearning

RETAIN_EPOCHS = 5
_DECAY = "3"
"""Epochs after which the learning rate falls to a tenth: a network that comes to rest is told more precisely."""


def resurfaced_dice(network: SegmentationNetwork, context: Context) -> np.ndarray:
    """The Dice of each forget and held-out subject after `RETAIN_EPOCHS` epochs on the retain subjects alone."""
    recipe = Recipe(epochs=RETAIN_EPOCHS, lr=context.lr, lr_decay=_DECAY)
    loop = Unlearning(network, context.data, Strategy(), recipe, context.seed, evaluate_every=RETAIN_EPOCHS)
    *_, last = loop
    return np.array(last.subjects["forget_dice"] + last.subjects["heldout_dice"])


MEASURE = Measure(resurfaced_dice, "Resurfaced Dice", question="Do they come back?", remembered="more")
