"""How weights are moved: the optimisation settings that fits and unlearning trials share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """AdamW for a number of epochs; one epoch is one pass over the retain scans.

    Attributes:
        epochs: passes over the retain scans, at least 1.
        lr: learning rate of AdamW, constant over the epochs.
        weight_decay: AdamW's decoupled weight decay.
        retain_batch: retain scans per step.
        forget_batch: forget scans per step, drawn in turn; they share the retain scans' forward pass.
    """

    epochs: int = 20
    lr: float = 1e-3
    weight_decay: float = 1e-2
    retain_batch: int = 2
    forget_batch: int = 1
