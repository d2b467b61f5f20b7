"""Everything that is measured of one network, and of the networks that a recipe makes."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainables.data import Sets, Subset, TrialData
from trainables.device import default_device, shared_tensor
from trainables.evaluation import evaluate, means
from trainables.evidence.measure import Context, Measure
from trainables.evidence.quality import quality
from trainables.evidence.scores import Scores, score
from trainables.fitting import Weights, network_of
from trainables.mechanics.scopes import plain_state
from trainables.mechanics.strategy import build
from trainables.med3d import SegmentationNetwork
from trainables.registry import Registry
from trainables.unlearning import Unlearning

MEASURES = Registry("measure", "trainables.evidence.measures", "lethe.measures", Measure, attribute="MEASURE")
"""Of a network: each is a column of the evidence."""


@dataclass(frozen=True)
class Examination:
    """What was measured of a network.

    Attributes:
        forget: scores of the forget subjects.
        heldout: scores of the held-out subjects.
        quality: `<set>_<metric>` of surfaces.
        values: measure -> one number, or one for each forget subject, or for each forget and held-out subject.
        problems: measure -> why it could not be taken.
    """

    forget: Scores
    heldout: Scores
    quality: dict[str, float]
    values: dict[str, np.ndarray]
    problems: dict[str, str]


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
    retrained: Mapping[str, Weights],
    baseline: Weights,
    depth: int,
    baseline_dice: float,
    lr: float,
    seed: int,
    measures: Sequence[str],
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> Examination:
    """Take the scores of a network's forget and held-out subjects, and measures of it.

    A measure that fails, or is not installed here, is left out with the reason. The network may be one of the
    retrained references; for `baseline`, `depth`, `baseline_dice`, `lr` and `seed` see `Context`.
    """
    network = network_of(weights, depth, data.classes)
    others = {
        name: other
        for name, other in retrained.items()
        if not all(np.array_equal(weights[key], other[key]) for key in weights)
    }
    scores, forget = score(network, data, data.forget + data.heldout), len(data.forget)
    context = Context(data, scores, depth, others, baseline, baseline_dice, lr, seed)
    surfaces = quality(network, data, spacing_mm)
    examination = Examination(scores[:forget], scores[forget:], surfaces, {}, {})
    for name in measures:
        try:
            examination.values[name] = MEASURES.load(name)(copy.deepcopy(network), context)
        except Exception as error:  # a measure is anybody's code; the others are none the worse for it
            examination.problems[name] = f"{type(error).__name__}: {error}"
    return examination


def scores_of(data: TrialData, weights: Weights, depth: int, subset: Subset) -> Scores:
    """The scores of some subjects."""
    return score(network_of(weights, depth, data.classes), data, subset)


def scores_after(
    data: TrialData, weights: Weights, depth: int, sets: Sets, recipe: RecipeOf, subset: Subset
) -> Scores:
    """The scores of some subjects after a network has unlearned others by a recipe.

    In as many steps as the trial took, whose sets are those of `data`: with fewer subjects a recipe would do less.
    """
    return score(_unlearn(data.with_sets(sets), weights, depth, recipe, paced_by=data), data, subset)


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


def _unlearn(
    data: TrialData, weights: Weights, depth: int, recipe: RecipeOf, paced_by: TrialData | None = None
) -> SegmentationNetwork:
    strategy, settings = build(recipe.strategy, dict(recipe.knobs))
    network = network_of(weights, depth, data.classes)
    every = 1 if settings.forget_schedule == "until_floor" else settings.epochs
    options: dict[str, Any] = {"floor_dice": recipe.floor_dice, "paced_by": paced_by}
    loop = Unlearning(network, data, strategy, settings, recipe.seed, evaluate_every=every, **options)
    for _ in loop:
        pass
    return network
