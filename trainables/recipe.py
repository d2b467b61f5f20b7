"""How weights are moved: the optimisation settings that fits and unlearning trials share."""

from dataclasses import dataclass

OPTIMIZERS = ("adamw", "sgd")
BATCH_NORMS = ("train", "frozen")
SCHEDULES = ("constant", "warmup", "cosine", "until_floor")


@dataclass(frozen=True)
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
        clip: largest norm of a step's gradient over all weights; 0 leaves it alone.
        batch_norm: `train` normalises by the batch's statistics and updates the running ones; `frozen` uses the
            baseline's and leaves them.
        lr_warmup: epochs over which the learning rate rises linearly, step by step.
        forget_schedule: what multiplies the forget weight: 1 (`constant`), a linear rise to 1 (`warmup`), half a
            cosine down to 0 (`cosine`), or 1 while the retain Dice is clear of the floor, else 0 (`until_floor`).
        schedule_epochs: length of that rise or fall.
        lora_rank: rank of adapters on the convolutions, which then learn instead of the weights; 0 for none.
            BatchNorm's running statistics follow `batch_norm`.
        lora_scale: what multiplies the adapters' matrix, the usual alpha / rank.

    Raises:
        ValueError: for a word that is not one of these or a number out of range, with all problems found.
    """

    epochs: int = 20
    lr: float = 1e-3
    weight_decay: float = 1e-2
    retain_batch: int = 2
    forget_batch: int = 1
    optimizer: str = "adamw"
    clip: float = 0.0
    batch_norm: str = "train"
    lr_warmup: int = 0
    forget_schedule: str = "constant"
    schedule_epochs: int = 5
    lora_rank: int = 0
    lora_scale: float = 4.0

    def __post_init__(self) -> None:
        legal = {"optimizer": OPTIMIZERS, "batch_norm": BATCH_NORMS, "forget_schedule": SCHEDULES}
        least = {"epochs": 1, "retain_batch": 1, "forget_batch": 1, "schedule_epochs": 1}
        least |= dict.fromkeys(("lr", "weight_decay", "clip", "lr_warmup", "lora_rank"), 0)
        problems = [
            f"{name} must be one of {', '.join(words)}, but got {getattr(self, name)!r}"
            for name, words in legal.items()
            if getattr(self, name) not in words
        ]
        problems += [
            f"{name} must be at least {low}, but got {getattr(self, name)!r}"
            for name, low in least.items()
            if not getattr(self, name) >= low
        ]
        if problems:
            raise ValueError("; ".join(problems))
