"""Fitting a network to a cohort: how the baseline and the retrained reference come about."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from trainables.data import Subset, TrialData
from trainables.device import default_device
from trainables.mechanics.strategy import Strategy
from trainables.med3d import SegmentationNetwork, load_state, load_weights, med3d, med3d_with, medicalnet_state
from trainables.recipe import Recipe
from trainables.seeds import seed_for
from trainables.unlearning import EpochReport, Unlearning

Weights = Mapping[str, np.ndarray]
"""Name -> parameter or buffer of a network."""


def initial_network(depth: int, classes: int, seed: int, weights: str = "") -> SegmentationNetwork:
    """A network whose weights are drawn from the seed, then overwritten by those that a checkpoint has.

    Args:
        weights: path of a checkpoint, `medicalnet` to fetch MedicalNet's own, or nothing.

    Raises:
        WeightsError: a checkpoint that cannot be fetched, or read, or does not fit the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "initial weights"))
        network = med3d(depth, classes)
    if weights == "medicalnet":
        load_state(network, medicalnet_state(depth), weights)
    elif weights:
        load_weights(network, weights)
    return network


def fit(
    network: SegmentationNetwork, data: TrialData, taught: Subset, recipe: Recipe, seed: int, evaluate_every: int = 5
) -> Iterator[EpochReport]:
    """Train on the taught subjects with cross-entropy + Dice; the network is changed in place.

    Its course matters less than its end, so that not every epoch is evaluated.
    """
    return Unlearning(network, data, Strategy(), recipe, seed, taught=taught, evaluate_every=evaluate_every)


def weights_of(network: SegmentationNetwork) -> dict[str, np.ndarray]:
    """Parameters and buffers as arrays, which processes can share without copies."""
    return {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}


def network_of(weights: Weights, depth: int, classes: int) -> SegmentationNetwork:
    """The network with these weights, on the process's device."""
    state = {name: torch.tensor(value) for name, value in weights.items()}
    return med3d_with(state, depth, classes).to(default_device())
