"""How weights are moved: the optimisation settings that fits and unlearning trials share."""

import math
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

NEAR = 0.02
"""Dice above the floor within which `until_floor` stops pushing."""

NotNegative = Annotated[float, Field(ge=0)]

_LATER = {"augment": "none", "lr_decay": ""}
"""The defaults of settings that version 0.1 did not have."""


@dataclass(frozen=True, config=ConfigDict(strict=True))
class Recipe:
    """An optimiser for a number of epochs; one epoch is one pass over the retain scans.

    Nothing depends on how many epochs there are in all: schedules count epochs from the start. So the first 20
    epochs of a trial of 50 are a trial of 20, bit for bit on the CPU.

    Attributes:
        epochs: passes over the retain scans, at least 1.
        lr: learning rate.
        weight_decay: AdamW's decoupled weight decay, or SGD's.
        retain_batch: retain scans per step.
        forget_batch: forget scans per step, drawn in turn; they share the retain scans' forward pass.
        optimizer: `adamw`, or `sgd` with momentum 0.9.
        clip: largest norm of a step's gradient over all weights; 0 leaves it alone (see benchmarks/README.md).
        batch_norm: `train` normalises by the batch's statistics and updates the running ones; `frozen` uses the
            baseline's and leaves them.
        lr_warmup: epochs over which the learning rate rises linearly, step by step.
        forget_schedule: what multiplies the forget weight: 1 (`constant`), a linear rise to 1 (`warmup`), half a
            cosine down to 0 (`cosine`), or 1 while the retain Dice is clear of the floor, else 0 (`until_floor`).
        schedule_epochs: length of that rise or fall.
        lora_rank: rank of adapters on the convolutions, which then learn instead of the weights; 0 for none.
            BatchNorm's running statistics follow `batch_norm`.
        lora_scale: what multiplies the adapters' matrix, the usual alpha / rank.
        lr_decay: epochs after each of which the learning rate falls to a tenth, as `5/8/9`.
        augment: how each scan of a step is seen, with all that it is taught (`views.random_view`): as it is (`none`),
            moved by up to 3 voxels (`shift`), mirrored (`flip`), or rotated, scaled and moved (`affine`).

    Raises:
        pydantic.ValidationError: a ValueError, for a value of another kind, a word that is not one of these or a
            number out of range, with all problems found.
    """

    epochs: Annotated[int, Field(ge=1)] = 20
    lr: NotNegative = 1e-3
    weight_decay: NotNegative = 1e-2
    retain_batch: Annotated[int, Field(ge=1)] = 2
    forget_batch: Annotated[int, Field(ge=1)] = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    clip: NotNegative = 0.0
    batch_norm: Literal["train", "frozen"] = "train"
    lr_warmup: Annotated[int, Field(ge=0)] = 0
    forget_schedule: Literal["constant", "warmup", "cosine", "until_floor"] = "constant"
    schedule_epochs: Annotated[int, Field(ge=1)] = 5
    lora_rank: Annotated[int, Field(ge=0)] = 0
    lora_scale: NotNegative = 4.0
    lr_decay: Annotated[str, Field(pattern=r"^(\d+(/\d+)*)?$")] = ""
    augment: Literal["none", "shift", "flip", "affine"] = "none"

    def plain(self) -> dict[str, Any]:
        """The settings by name, of the later ones those that differ from their defaults: a fit's digest must last."""
        return {name: value for name, value in vars(self).items() if (name, value) not in _LATER.items()}

    def forget_factor(self, epoch: int, retain_dice: float, floor_dice: float) -> float:
        """What multiplies the forget weight in an epoch, in [0, 1].

        Args:
            epoch: from 1.
            retain_dice: after the epoch before; above any floor in the first.
            floor_dice: retain Dice below which a trial is infeasible.
        """
        if self.forget_schedule == "warmup":
            return min(1.0, epoch / self.schedule_epochs)
        if self.forget_schedule == "cosine":
            return (1 + math.cos(math.pi * min(1.0, (epoch - 1) / self.schedule_epochs))) / 2
        if self.forget_schedule == "until_floor":
            return 1.0 if retain_dice >= floor_dice + NEAR else 0.0
        return 1.0

    def lr_factor(self, epochs: float) -> float:
        """What multiplies the learning rate of the step that ends after so many epochs, in (0, 1]."""
        warm = min(1.0, epochs / self.lr_warmup) if self.lr_warmup else 1.0
        return warm * 0.1 ** sum(epochs > int(epoch) for epoch in self.lr_decay.split("/") if epoch)
