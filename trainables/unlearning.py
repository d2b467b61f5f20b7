"""The loop: epochs of a strategy on a network, one report each, interruptible between any two."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The first network and the first optimiser would import these two, and the imports (torch.fx.wrap) make cycles with
# the frames above: what they hold, such as a cohort in the object store, would not be free before a collection.
import monai.networks.nets.resnet  # noqa: F401
import numpy as np
import torch
import torch._dynamo

from trainables.data import Subset, TrialData, scans
from trainables.device import default_device, mixed_precision, shared_tensor
from trainables.evaluation import Values, evaluate, means
from trainables.mechanics.baseline import Baseline
from trainables.mechanics.scopes import adapt, mask_weights, normalisations, open_scope, training_mode
from trainables.mechanics.step import Batch, Setting, Step
from trainables.mechanics.strategy import Strategy
from trainables.med3d import SegmentationNetwork
from trainables.recipe import Recipe
from trainables.seeds import seed_for
from trainables.views import random_view


@dataclass(frozen=True)
class EpochReport:
    """What an epoch gave.

    Attributes:
        epoch: from 1.
        subjects: `<set>_<metric>` after the epoch, one value per subject of the set.
        loss: mean over the epoch's steps; not finite if the trial diverged.
        seconds: of training and evaluation.
        diverged: a step's loss was not finite; the weights are those before that step, and no epoch follows.
    """

    epoch: int
    subjects: Values
    loss: float
    seconds: float
    diverged: bool

    @property
    def metrics(self) -> dict[str, float]:
        """`<set>_<metric>`: the means over the subjects."""
        return means(self.subjects)


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
        shared: Path | None = None,
        floor_dice: float = 0.0,
        one_by_one: bool = False,
        paced_by: TrialData | None = None,
    ):
        """Set up epoch 1.

        Args:
            network: the baseline; changed in place.
            data: shared arrays and the three sets, on which every report is based. Any set may be empty: without a
                forget scan only the retain term is taught, without a retain scan there is nothing to train.
            taught: the subjects that the retain term is taught; by default the retain set.
            evaluate_every: epochs between evaluations; the last epoch is always evaluated, the reports of the
                others have no metrics. Rewinding looks at every epoch.
            shared: folder in which the processes of a node share the baseline's features.
            floor_dice: retain Dice that a forget schedule must not fall below.
            one_by_one: send the scans of a step through the network one at a time and add up their gradients, which
                needs the least memory. BatchNorm then sees one scan at a time, and every scan weighs the same,
                whatever part of it is ignored.
            paced_by: data whose sets say how many scans an epoch draws, and so how many steps it has; by default as
                many as there are. More than there are come in rounds.
        """
        self.device = default_device()
        self.network = network.to(self.device)
        self._data, self._strategy, self._recipe = data, strategy, recipe
        self._evaluate_every = 1 if strategy.rewind else evaluate_every
        self._floor_dice, self._one_by_one = floor_dice, one_by_one
        images, labels = (shared_tensor(array, self.device) for array in (data.images, data.labels))
        retain, forget = scans(data.retain if taught is None else taught), scans(data.forget)
        drawn = (retain, forget) if paced_by is None else (scans(paced_by.retain), scans(paced_by.forget))
        self._retain_turns, self._forget_turns = map(len, drawn)
        baseline = Baseline(copy.deepcopy(network), images, retain, shared)
        self._setting = Setting(network, baseline, images, labels, retain, forget, data.classes, seed)
        self._open()
        moving = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._optimizer = (
            torch.optim.AdamW(moving, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
            if recipe.optimizer == "adamw"
            else torch.optim.SGD(moving, lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay, fused=True)
        )
        self.epoch, self._diverged, self._retain_dice = 0, False, math.inf
        self._kept: tuple[Values, dict[str, torch.Tensor]] | None = None

    def _open(self) -> None:
        """Let move what may: the strategy's scope, adapters in it, single weights of it."""
        strategy, setting = self._strategy, self._setting
        if strategy.prepare is not None:
            strategy.prepare(setting)
        masks = strategy.mask(setting) if strategy.mask is not None else {}
        open_scope(self.network, strategy.moves)
        if self._recipe.lora_rank:
            adapt(self.network, self._recipe.lora_rank, self._recipe.lora_scale, setting.seed)
        mask_weights(self.network, masks)

    def __next__(self) -> EpochReport:
        if self.finished:
            raise StopIteration
        started = time.perf_counter()
        self.epoch += 1
        losses = self._train()
        self._diverged = not all(map(math.isfinite, losses))
        due = self.finished or self.epoch % self._evaluate_every == 0
        subjects = self._evaluate() if due else {}
        self._retain_dice = means(subjects).get("retain_dice", self._retain_dice)
        if self._strategy.rewind and "steering_dice" in subjects:
            subjects = self._rewound(subjects)
        seconds = time.perf_counter() - started
        loss = float(np.mean(losses)) if losses else 0.0
        return EpochReport(self.epoch, subjects, loss, seconds, self._diverged)

    def _rewound(self, subjects: Values) -> Values:
        """The values of the epoch to rewind to; the network is that of this epoch once the trial is finished.

        Of the epoch kept so far and the one that gave these values it is the one whose forget Dice is nearer to the
        steering subjects' now. So one network is kept, and no report depends on the epochs after it.
        """
        level, now = means(subjects)["steering_dice"], (subjects, copy.deepcopy(self.network.state_dict()))
        self._kept = min(self._kept or now, now, key=lambda epoch: abs(means(epoch[0])["forget_dice"] - level))
        if self.finished:
            self.network.load_state_dict(self._kept[1])
        return self._kept[0]

    def evaluate(self) -> dict[str, float]:
        """The metrics of the network as it is."""
        return means(self._evaluate())

    def _evaluate(self) -> Values:
        setting = self._setting
        return evaluate(self.network, setting.images, setting.labels, self._data.subsets)

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
            "retain_dice": self._retain_dice,
            "kept": self._kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the epoch at which `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.epoch, self._retain_dice = state["epoch"], state["retain_dice"]
        self._kept = state.get("kept")  # which states of version 0.1 have not

    def _train(self) -> list[float]:
        """The losses of one epoch's steps, ending early with the first that is not finite."""
        strategy, recipe = self._strategy, self._recipe
        training_mode(self.network, strategy.moves, recipe.batch_norm == "frozen")
        weight = self._forget_weight()
        batches = self._batches(weight)
        losses: list[float] = []
        for number, (retain, forget) in enumerate(batches, 1):
            statistics = [(value, value.clone()) for norm in normalisations(self.network) for value in norm.buffers()]
            self._optimizer.zero_grad(set_to_none=True)
            parts = self._parts(retain, forget)
            losses.append(sum(self._backward(number, *part, weight) for part in parts))
            if not math.isfinite(losses[-1]):
                for buffer, before in statistics:
                    buffer.copy_(before)  # the forward pass has moved BatchNorm's
                break
            for group in self._optimizer.param_groups:
                group["lr"] = recipe.lr * recipe.lr_factor(self.epoch - 1 + number / len(batches))
            if recipe.clip:
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
            self._optimizer.step()
        return losses

    def _parts(self, retain: list[int], forget: list[int]) -> list[tuple[list[int], list[int], float]]:
        """A step's scans in the portions that go through the network together, with their share in the loss."""
        if not self._one_by_one:
            return [(retain, forget, 1.0)]
        alone: list[tuple[list[int], list[int], float]] = [([scan], [], 1 / len(retain)) for scan in retain]
        return alone + [([], [scan], 1 / len(forget)) for scan in forget]

    def _backward(self, number: int, retain: list[int], forget: list[int], share: float, weight: float) -> float:
        """Add the gradients of a portion of a step of the epoch to those that are there; returns its loss."""
        step = Step(self._setting, self._batch(retain, number), self._batch(forget, number), self.epoch, number)
        loss = share * self._loss(step, weight)
        loss.backward()
        return loss.item()

    def _batch(self, scans: list[int], number: int) -> Batch:
        """Scans as a step of the epoch sees them."""
        kind, setting, step = self._recipe.augment, self._setting, f"augment/{self.epoch}/{number}"
        if kind == "none":
            return setting.batch(scans)
        return setting.batch(scans, [random_view(kind, seed_for(setting.seed, f"{step}/{scan}")) for scan in scans])

    def _loss(self, step: Step, forget_weight: float) -> torch.Tensor:
        with mixed_precision(self.device):
            loss = torch.zeros((), device=self.device)
            if self._strategy.retain is not None and step.retain.scans:
                loss = loss + self._strategy.retain(step)
            if self._strategy.forget is not None and step.forget.scans:
                loss = loss + forget_weight * self._strategy.forget(step)
        return loss

    def _forget_weight(self) -> float:
        """The forget term's weight in this epoch."""
        strategy, last = self._strategy, self._strategy.forget_epochs
        if strategy.forget is None or not self._setting.forget or (last is not None and self.epoch > last):
            return 0.0
        return strategy.forget_weight * self._recipe.forget_factor(self.epoch, self._retain_dice, self._floor_dice)

    def _batches(self, forget_weight: float) -> list[tuple[list[int], list[int]]]:
        """The retain and the forget scans of each step of this epoch; without weight no forget scan is touched."""
        if self._strategy.retain is None:
            return []
        setting, size = self._setting, self._recipe.forget_batch
        count, of_forget = self._retain_turns, self._forget_turns
        retain = _chunks(self._turns(setting.retain, "retain", self.epoch * count, count), self._recipe.retain_batch)
        if not forget_weight:
            return [(batch, []) for batch in retain]
        if self._strategy.alternate:
            forget = _chunks(self._turns(setting.forget, "forget", self.epoch * of_forget, of_forget), size)
            return [*(([], batch) for batch in forget), *((batch, []) for batch in retain)]
        count = len(retain) * size
        forget = _chunks(self._turns(setting.forget, "forget", (self.epoch - 1) * count, count), size)
        return list(zip(retain, forget, strict=True))

    def _turns(self, items: Sequence[int], purpose: str, first: int, count: int) -> list[int]:
        """The scans of so many turns: every round goes through all of them in an order of its own."""
        if not items:
            return []
        start, skipped = divmod(first, len(items))
        rounds = range(start, start + math.ceil((skipped + count) / len(items)))
        order = [scan for number in rounds for scan in self._shuffled(items, f"{purpose}/{number}")]
        return order[skipped : skipped + count]

    def _shuffled(self, items: Sequence[int], purpose: str) -> list[int]:
        return np.random.default_rng(seed_for(self._setting.seed, purpose)).permutation(items).tolist()


def _chunks(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
