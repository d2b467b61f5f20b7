"""From names and plain values to a strategy and a recipe."""

from dataclasses import fields
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from trainables.mechanics.strategy import Strategy
from trainables.recipe import Recipe
from trainables.registry import STRATEGIES


def build(strategy: str, knobs: dict[str, Any]) -> tuple[Strategy, Recipe]:
    """The strategy and the recipe that these knobs describe.

    Raises:
        ValueError: for a strategy that is not there, or is none, and for a value that a knob cannot have.
    """
    preset = STRATEGIES.load(strategy)
    recipe_names = {field.name for field in fields(Recipe)}
    settings = {name: value for name, value in knobs.items() if name in recipe_names}
    choices = {name: value for name, value in knobs.items() if name not in recipe_names}
    try:
        checked: Any = validate_call(config=ConfigDict(strict=True))(preset)
        made, recipe = checked(**choices), Recipe(**settings)
    except ValidationError as error:
        raise ValueError("; ".join(_told(problem) for problem in error.errors())) from error
    if not isinstance(made, Strategy):
        raise ValueError(f"strategy {strategy!r} makes no Strategy but a {type(made).__name__}")
    return made, recipe


def _told(problem: Any) -> str:
    name = ".".join(map(str, problem["loc"]))
    reason = problem["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    return f"{name}: {reason}, but got {problem['input']!r}" if name else reason
