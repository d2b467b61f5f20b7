"""From names and plain values to a strategy and a recipe."""

import inspect
from dataclasses import fields
from importlib import import_module
from typing import Any

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
    problems = [*_of_another_kind(preset, choices), *_of_another_kind(Recipe, settings)]
    if problems:
        raise ValueError("; ".join(problems))
    return preset(**choices), Recipe(**settings)


def _of_another_kind(function: Any, values: dict[str, Any]) -> list[str]:
    """The values whose type is not that of the argument's default; a whole number will do for a fraction."""
    kinds = {name: type(argument.default) for name, argument in inspect.signature(function).parameters.items()}
    return [
        f"{name} must be {kinds[name].__name__}, but got {value!r}"
        for name, value in values.items()
        if name in kinds and not (type(value) is kinds[name] or (kinds[name] is float and type(value) is int))
    ]
