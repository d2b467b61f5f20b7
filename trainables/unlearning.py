"""The loop: epochs of a strategy on a network, one report each, interruptible between any two."""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.data import Subset, TrialData, scans
from trainables.evaluation import evaluate, mixed_precision
from trainables.mechanics import Batch, Step, Strategy
from trainables.med3d import SegmentationNetwork
from trainables.recipe import Recipe
from trainables.seeds import seed_for


@dataclass(frozen=True)
class EpochReport:
    """What an epoch gave.

    Attributes:
        epoch: from 1.
        metrics: `<set>_<metric>` after the epoch.
        loss: mean over the epoch's steps; not finite if the trial diverged.
        seconds: of training and evaluation.
        diverged: a step's loss was not finite; the weights are those before that step, and no epoch follows.
    """

    epoch: int
    metrics: dict[str, float]
    loss: float
    seconds: float
    diverged: bool


class Unlearning(Iterator[EpochReport]):
    """Iterates over epochs: trains one, evaluates, reports; stopping is not asking for the next.

    With a strategy that has no forget term it is plain training on the retain set, which is how the
    references are fitted. Every draw depends on the seed and the epoch only, so that a loop continued from a
    `state_dict` repeats, on the CPU bit for bit, what an uninterrupted one does.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        data: TrialData,
        strategy: Strategy,
        recipe: Recipe,
        seed: int,
        taught: Subset | None = None,
        evaluate_every: int = 1,
    ):
        """Set up epoch 1.

        Args:
            network: changed in place.
            data: shared arrays and the three sets, on which every report is based.
            strategy: the terms of the loss.
            recipe: the optimisation.
            seed: of all draws.
            taught: the subjects that the retain term is taught; by default the retain set.
            evaluate_every: epochs between evaluations; the last epoch is always evaluated, the reports of the
                others have no metrics.
        """
        self.device = default_device()
        self.network = network.to(self.device)
        self._subsets, self._classes = data.subsets, data.classes
        self._images, self._labels = (
            shared_tensor(data.images, self.device),
            shared_tensor(data.labels, self.device),
        )
        self._retain, self._forget = scans(taught or data.retain), scans(data.forget)
        self._evaluate_every = evaluate_every
        self._strategy, self._recipe, self._seed = strategy, recipe, seed
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
        self.epoch, self._diverged = 0, False

    def __next__(self) -> EpochReport:
        if self.finished:
            raise StopIteration
        started = time.perf_counter()
        self.epoch += 1
        losses = self._train()
        self._diverged = not math.isfinite(losses[-1])
        due = self.finished or self.epoch % self._evaluate_every == 0
        metrics = evaluate(self.network, self._images, self._labels, self._subsets) if due else {}
        seconds = time.perf_counter() - started
        return EpochReport(self.epoch, metrics, float(np.mean(losses)), seconds, self._diverged)

    @property
    def finished(self) -> bool:
        """All epochs are done, or the trial diverged."""
        return self._diverged or self.epoch >= self._recipe.epochs

    def state_dict(self) -> dict[str, Any]:
        """All that the following epochs depend on: weights, optimiser state and the number of epochs done."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the epoch at which `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]

    def _train(self) -> list[float]:
        """The losses of one epoch's steps, ending early with the first that is not finite."""
        self.network.train()
        losses: list[float] = []
        for retain, forget in self._batches():
            statistics = [buffer.clone() for buffer in self.network.buffers()]
            step = Step(self.network, self._batch(retain), self._batch(forget), self._classes, self._seed, self.epoch)
            with mixed_precision(self.device):
                loss = self._strategy.retain(step)
                if self._strategy.forget is not None:
                    loss = loss + self._strategy.forget_weight * self._strategy.forget(step)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                    buffer.copy_(before)  # the forward pass has moved BatchNorm's
                break
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
        return losses

    def _batches(self) -> Iterator[tuple[list[int], list[int]]]:
        """The scans of each step: all retain scans once in random order, forget scans in turn across epochs."""
        order = self._shuffled(self._retain, f"retain/{self.epoch}")
        size = self._recipe.retain_batch
        steps = range(0, len(order), size)
        per_step = self._recipe.forget_batch if self._strategy.forget is not None else 0
        first = (self.epoch - 1) * len(steps) * per_step
        for number, start in enumerate(steps):
            turns = range(first + number * per_step, first + (number + 1) * per_step)
            yield order[start : start + size], [self._forget_scan(turn) for turn in turns]

    def _forget_scan(self, turn: int) -> int:
        """The forget scan of a turn: every round goes through all of them in an order of its own."""
        number, place = divmod(turn, len(self._forget))
        return self._shuffled(self._forget, f"forget/{number}")[place]

    def _shuffled(self, items: Sequence[int], purpose: str) -> list[int]:
        return np.random.default_rng(seed_for(self._seed, purpose)).permutation(items).tolist()

    def _batch(self, chosen: list[int]) -> Batch:
        return Batch(chosen, self._images[chosen].unsqueeze(1), self._labels[chosen])


def default_device() -> torch.device:
    """The GPU that this process was given, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def shared_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor: on the CPU the same memory, which nobody may write to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
