"""What changes from epoch to epoch: the forget weight and the learning rate, as factors of the recipe's."""

import math

from trainables.recipe import Recipe

NEAR = 0.02
"""Dice above the floor within which `until_floor` stops pushing."""


def forget_factor(recipe: Recipe, epoch: int, retain_dice: float, floor_dice: float) -> float:
    """What multiplies the forget weight in an epoch, in [0, 1].

    Args:
        recipe: names the schedule and its length.
        epoch: from 1.
        retain_dice: after the epoch before; above any floor in the first.
        floor_dice: retain Dice below which a trial is infeasible.
    """
    if recipe.forget_schedule == "warmup":
        return min(1.0, epoch / recipe.schedule_epochs)
    if recipe.forget_schedule == "cosine":
        return (1 + math.cos(math.pi * min(1.0, (epoch - 1) / recipe.schedule_epochs))) / 2
    if recipe.forget_schedule == "until_floor":
        return 1.0 if retain_dice >= floor_dice + NEAR else 0.0
    return 1.0


def lr_factor(recipe: Recipe, epochs: float) -> float:
    """What multiplies the learning rate of a step, in (0, 1].

    Args:
        recipe: gives the length of the warm-up.
        epochs: done when the step has been taken, fractions of an epoch included; above 0.
    """
    return min(1.0, epochs / recipe.lr_warmup) if recipe.lr_warmup else 1.0
