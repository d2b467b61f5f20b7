"""A strategy: what the retain batch is taught, what the forget batch is taught, and which weights move."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from trainables.mechanics.labels import segment_retain
from trainables.mechanics.scopes import EVERYTHING
from trainables.mechanics.step import Setting, Term


@dataclass(frozen=True)
class Strategy:
    """One way to unlearn; the loss of a step is retain + forget_weight * forget.

    Attributes:
        retain: what the retain batch is taught; None for a strategy that does not train at all.
        forget: what the forget batch is taught; None for plain training on the retain batch.
        forget_weight: what the forget term weighs; the recipe's schedule multiplies it.
        moves: paths of the modules that move.
        forget_epochs: the forget term counts in the first so many epochs only; None for all.
        alternate: an epoch is a pass over the forget scans with their term alone, then one over the retain scans
            with theirs, instead of steps on both.
        prepare: changes the network before the first step.
        mask: which weights of some parameters move, by parameter; all, where it is None or names none.
    """

    retain: Term | None = segment_retain
    forget: Term | None = None
    forget_weight: float = 1.0
    moves: tuple[str, ...] = EVERYTHING
    forget_epochs: int | None = None
    alternate: bool = False
    prepare: Callable[[Setting], None] | None = None
    mask: Callable[[Setting], Mapping[str, Tensor]] | None = None
