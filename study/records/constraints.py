"""Constraints on a trial's metrics: what makes it feasible, and by how much it is not."""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

RELATIONS = {">=": 1, "<=": -1}


@dataclass(frozen=True)
class Constraint:
    """A bound on a column of the trial table.

    Attributes:
        column: a metric, or `seconds`.
        relation: `>=` or `<=`.
        bound: in the column's unit.
    """

    column: str
    relation: str
    bound: float

    def __str__(self) -> str:
        return f"{self.column}{self.relation}{self.bound:g}"

    def violation(self, results: Mapping[str, float | None]) -> float:
        """How far they miss the bound, relative to it where it is not 0; kept at 0 or less.

        A metric that is undefined, or not there yet, misses it by 1.
        """
        value = results.get(self.column)
        if value is None or math.isnan(value):
            return 1.0
        return RELATIONS[self.relation] * (self.bound - value) / (abs(self.bound) or 1.0)


class ConstraintError(ValueError):
    """A constraint that says nothing, with the faulty part marked."""


def parse(text: str, metrics: Collection[str] | None = None) -> Constraint:
    """The constraint that a text like `retain_dice>=0.75` gives.

    Args:
        text: to be read.
        metrics: the columns that it may be on beside `seconds`; without them any name will do.

    Raises:
        ConstraintError: what is wrong and what would be right, and a line that points at it.
    """
    parts = re.fullmatch(r"(\s*)([^\s<>=]*)(\s*)([<>=]*)(\s*)(.*?)\s*", text, re.DOTALL)
    assert parts is not None  # every text has this form
    _, column, _, relation, _, bound = parts.groups()
    if metrics is None and not column.isidentifier():
        raise ConstraintError(_pointed(text, parts.span(2), f"expected the name of a metric, but got {column!r}"))
    columns = [column] if metrics is None else [*metrics, "seconds"]
    if column not in columns:
        near = difflib.get_close_matches(column, columns, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(columns)}"
        raise ConstraintError(_pointed(text, parts.span(2), f"no metric {column!r}; {hint}"))
    if relation not in RELATIONS:
        raise ConstraintError(_pointed(text, parts.span(4), f"expected >= or <=, but got {relation!r}"))
    try:
        number = float(bound)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConstraintError(_pointed(text, parts.span(6), f"expected a finite number, but got {bound!r}"))
    return Constraint(column, relation, number)


def violations(
    constraints: Sequence[Constraint], results: Mapping[str, float | None], diverged: bool | None
) -> dict[str, float]:
    """Constraint -> how far results miss it, 0 or less where it holds; a diverged trial misses each by 1."""
    return {str(constraint): 1.0 if diverged else constraint.violation(results) for constraint in constraints}


def _pointed(text: str, span: tuple[int, int], reason: str) -> str:
    start, end = span
    return f"{reason}\n    {text}\n    {' ' * start}{'^' * max(1, end - start)}"
