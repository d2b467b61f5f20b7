"""What an option may be, beside its type: rules that settings carry, and every way in which values break them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, get_type_hints
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from study.records.constraints import ConstraintError
from study.records.constraints import parse as parse_constraint

DEPTHS = (10, 18, 34, 50)
"""Layers of the networks there are."""

_RULE = "Input should be "
"""How pydantic begins most of its messages."""


def _must_be(holds: Callable[[Any], bool], text: str) -> AfterValidator:
    """A rule that reads `must be <text>`."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(_RULE + text)
        return value

    return AfterValidator(check)


def _constraint(text: str) -> str:
    try:
        parse_constraint(text)
    except ConstraintError as error:
        raise ValueError(f": {error}") from error
    return text


def _without_password(address: str) -> str:
    if urlsplit(address).password:
        kept = "MLFLOW_TRACKING_PASSWORD" if address.startswith("http") else "PGPASSWORD or ~/.pgpass"
        raise ValueError(f" holds a password, which study.json would keep: set {kept}")
    return address


def _is_shape(text: str) -> bool:
    sizes = [part.strip() for part in text.split(",")]
    return not text or (len(sizes) == 3 and all(size.isdecimal() and int(size) >= 16 for size in sizes))


def _are_horizons(text: str) -> bool:
    return not text or all(part.strip().isdecimal() and int(part) for part in text.split(","))


def _is_share(gpus: float) -> bool:
    return 0 <= gpus <= 1 or (gpus > 0 and gpus % 1 == 0)


AtLeastOne = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Depth = Annotated[int, _must_be(lambda depth: depth in DEPTHS, f"one of {', '.join(map(str, DEPTHS))}")]
Shape = Annotated[str, _must_be(_is_shape, "D,H,W, three sizes of at least 16 voxels")]
Horizons = Annotated[str, _must_be(_are_horizons, "numbers of epochs, as in 20,50")]
ConstraintText = Annotated[str, AfterValidator(_constraint)]
Gpus = Annotated[float, _must_be(_is_share, "a part of a GPU or a whole number of them")]
FolderName = Annotated[
    str, _must_be(lambda name: re.fullmatch(r"(\w[\w.-]*)?", name) is not None, "made of letters, digits and _ . -")
]
Address = Annotated[
    str,
    _must_be(lambda where: not where or re.fullmatch(r".+:\d+", where) is not None, "HOST:PORT or ray://HOST:PORT"),
]
Store = Annotated[str, AfterValidator(_without_password)]


def option_of(name: str) -> str:
    """A field as the command line spells it, without the dashes before it."""
    return {"knobs": "set"}.get(name, name.replace("_", "-"))


def checked(kind: type, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Values of a dataclass's fields, made of the fields' types, and everything that is wrong with them.

    Args:
        kind: dataclass whose fields are annotated with their rules.
        values: of some or all fields; texts may stand for numbers and marks, as in a file.

    Returns:
        The values that are right, and a line for each thing that is wrong, which begins with the option's name.
    """
    hints, right, problems = get_type_hints(kind, include_extras=True), {}, []
    for name in (field.name for field in fields(kind) if field.name in values):
        try:
            right[name] = TypeAdapter(hints[name]).validate_python(values[name])
        except ValidationError as error:
            problems += [f"--{option_of(name)}{_said(problem)}" for problem in _told_apart(error)]
    return right, problems


def _told_apart(error: ValidationError) -> list[Any]:
    """The first problem of each item of a list; a choice of types has one for each of them."""
    first: dict[Any, Any] = {}
    for problem in error.errors():
        place = problem["loc"][0] if problem["loc"] else None
        first.setdefault(place if isinstance(place, int) else None, problem)
    return list(first.values())


def _said(problem: Any) -> str:
    text = str(problem["msg"]).removeprefix("Value error, ")
    if text.startswith(_RULE):
        return f" must be {text.removeprefix(_RULE)}, but got {problem['input']!r}"
    if problem["type"] == "value_error":
        return text
    return f": {text[0].lower()}{text[1:]}, but got {problem['input']!r}"
