"""From names and plain values to a strategy and a recipe."""

from dataclasses import fields
from importlib import import_module
from typing import Any

from pydantic import ConfigDict, ValidationError, validate_call

from trainables import strategies
from trainables.mechanics.strategy import Strategy
from trainables.recipe import Recipe


def build(strategy: str, knobs: dict[str, Any]) -> tuple[Strategy, Recipe]:
    """The strategy and the recipe that these knobs describe.

    Raises:
        ValueError: for a value that a knob cannot have.
    """
    preset = getattr(import_module(f"{strategies.__name__}.{strategy}"), strategy)
    recipe_names = {field.name for field in fields(Recipe)}
    settings = {name: value for name, value in knobs.items() if name in recipe_names}
    choices = {name: value for name, value in knobs.items() if name not in recipe_names}
    try:
        checked: Any = validate_call(config=ConfigDict(strict=True))(preset)
        return checked(**choices), Recipe(**settings)
    except ValidationError as error:
        raise ValueError("; ".join(_told(problem) for problem in error.errors())) from error


def _told(problem: Any) -> str:
    name = ".".join(map(str, problem["loc"]))
    reason = problem["msg"].removeprefix("Value error, ")
    reason = reason[0].lower() + reason[1:]
    return f"{name}: {reason}, but got {problem['input']!r}" if name else reason
