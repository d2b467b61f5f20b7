"""Everything that is measured of one network, and of the networks that a recipe makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trainables.data import Sets, Subset, TrialData
from trainables.device import default_device, shared_tensor
from trainables.evaluation import evaluate, means
from trainables.evidence.distance import activation_distance
from trainables.evidence.relearning import resurfaced_dice, steps_to_relearn
from trainables.evidence.scores import Scores, score
from trainables.mechanics.scopes import plain_state
from trainables.med3d import SegmentationNetwork, med3d
from trainables.presets import build
from trainables.unlearning import Unlearning

Weights = Mapping[str, np.ndarray]
"""Name -> parameter or buffer of a network."""


@dataclass(frozen=True)
class Examination:
    """What was measured; `distances` are to other networks, by name."""

    forget: Scores
    heldout: Scores
    relearn_steps: float
    resurfaced_dice: float
    distances: dict[str, float]


@dataclass(frozen=True)
class RecipeOf:
    """What a trial did, to be done again: its strategy, knobs, seed and the retain Dice of its floor."""

    strategy: str
    knobs: Mapping[str, Any]
    seed: int
    floor_dice: float


def examine(
    data: TrialData,
    weights: Weights,
    others: Mapping[str, Weights],
    depth: int,
    target: float,
    lr: float,
    seed: int,
) -> Examination:
    """Measure a network.

    Args:
        data: of the study.
        weights: of the network.
        others: weights of the networks to which the activation distance is measured; not to itself.
        depth: of all of them.
        target: forget Dice that counts as relearned.
        lr: learning rate of the relearning.
        seed: of its order.
    """
    network = network_of(weights, depth, data.classes)
    return Examination(
        score(network, data, data.forget),
        score(network, data, data.heldout),
        steps_to_relearn(network, data, target, lr, seed),
        resurfaced_dice(network, data, lr, seed),
        {
            name: activation_distance(network, network_of(other, depth, data.classes), data, data.forget)
            for name, other in others.items()
            if not _same(weights, other)
        },
    )


def scores_of(data: TrialData, weights: Weights, depth: int, subset: Subset) -> Scores:
    """The scores of some subjects."""
    return score(network_of(weights, depth, data.classes), data, subset)


def scores_after(
    data: TrialData, weights: Weights, depth: int, sets: Sets, recipe: RecipeOf, subset: Subset
) -> Scores:
    """The scores of some subjects after a network has unlearned others by a recipe."""
    data = data.with_sets(sets)
    return score(_unlearn(data, weights, depth, recipe), data, subset)


def metrics_of(data: TrialData, weights: Weights, depth: int, subsets: Mapping[str, Subset]) -> dict[str, float]:
    """`<set>_<metric>` of any sets of subjects."""
    network = network_of(weights, depth, data.classes)
    images, labels = (shared_tensor(array, default_device()) for array in (data.images, data.labels))
    return means(evaluate(network, images, labels, subsets))


def weights_after(
    data: TrialData, weights: Weights, depth: int, sets: Sets, recipe: RecipeOf
) -> dict[str, np.ndarray]:
    """The plain network that a recipe makes of another one."""
    network = _unlearn(data.with_sets(sets), weights, depth, recipe)
    return {name: value.cpu().contiguous().numpy() for name, value in plain_state(network).items()}


def network_of(weights: Weights, depth: int, classes: int) -> SegmentationNetwork:
    """The network with these weights, on the process's device."""
    network = med3d(depth, classes)
    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return network.to(default_device())


def _unlearn(data: TrialData, weights: Weights, depth: int, recipe: RecipeOf) -> SegmentationNetwork:
    strategy, settings = build(recipe.strategy, dict(recipe.knobs))
    network = network_of(weights, depth, data.classes)
    every = 1 if settings.forget_schedule == "until_floor" else settings.epochs
    loop = Unlearning(
        network, data, strategy, settings, recipe.seed, evaluate_every=every, floor_dice=recipe.floor_dice
    )
    for _ in loop:
        pass
    return network


def _same(first: Weights, second: Weights) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first)
