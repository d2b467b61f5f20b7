"""A strategy: what the retain batch is taught, what the forget batch is taught, and which weights move."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call
from torch import Tensor

from trainables.mechanics.labels import segment_retain
from trainables.mechanics.scopes import EVERYTHING
from trainables.mechanics.step import Setting, Term
from trainables.recipe import Recipe
from trainables.registry import STRATEGIES


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
        rewind: an epoch's result is that of the epoch so far whose forget Dice is nearest to the Dice that held-out
            subjects that steer have now, if there are any; training goes on from the last one.
        prepare: changes the network before the first step.
        mask: which weights of some parameters move, by parameter; all, where it is None or names none.
    """

    retain: Term | None = segment_retain
    forget: Term | None = None
    forget_weight: float = 1.0
    moves: tuple[str, ...] = EVERYTHING
    forget_epochs: int | None = None
    alternate: bool = False
    rewind: bool = False
    prepare: Callable[[Setting], None] | None = None
    mask: Callable[[Setting], Mapping[str, Tensor]] | None = None


def build(name: str, knobs: Mapping[str, Any]) -> tuple[Strategy, Recipe]:
    """The strategy and the recipe that these knobs describe.

    Raises:
        ValueError: for a strategy that is not there, or is none, and for a value that a knob cannot have.
    """
    preset: Any = validate_call(config=ConfigDict(strict=True))(STRATEGIES.load(name))
    of_recipe = {field.name for field in fields(Recipe)} & knobs.keys()
    try:
        strategy = preset(**{knob: value for knob, value in knobs.items() if knob not in of_recipe})
        recipe = Recipe(**{knob: knobs[knob] for knob in of_recipe})
    except ValidationError as error:
        raise ValueError("; ".join(_in_words(problem) for problem in error.errors())) from error
    if not isinstance(strategy, Strategy):
        raise ValueError(f"strategy {name!r} makes no Strategy but a {type(strategy).__name__}")
    return strategy, recipe


def _in_words(problem: Any) -> str:
    name = ".".join(map(str, problem["loc"]))
    reason = problem["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    return f"{name}: {reason}, but got {problem['input']!r}" if name else reason
