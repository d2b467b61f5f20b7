"""`--set`: a knob held at a value, or searched in another range than the space's own."""

import ast
import math
import re
from collections.abc import Iterable
from dataclasses import replace

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.domains import kind
from search_spaces.space import Knob, Space, knobs_of

GRAMMAR = "KNOB=VALUE, KNOB=LOW..HIGH, KNOB=LOW..HIGH/STEP or KNOB=A|B|C"


def narrow(space: Space, settings: Iterable[str]) -> Space:
    """The same space with knobs held or searched as the texts say (see GRAMMAR).

    A range of a knob that the space searches on a logarithmic scale stays logarithmic, unless it has a step.

    Raises:
        ValueError: with every problem, a line each.
    """
    changes: dict[str, Knob | BaseDistribution] = {}
    problems, known = [], knobs_of(space.strategy)
    for text in settings:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            problems.append(f"must be {GRAMMAR}, but got {text!r}")
        elif name in changes:
            problems.append(f"{name} is set twice")
        elif name not in known:
            problems.append(f"strategy {space.strategy!r} has no knob {name!r}; it has {', '.join(sorted(known))}")
        else:
            try:
                changes[name] = _read(name, value, space.domains.get(name))
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    fixed = {name: value for name, value in changes.items() if not isinstance(value, BaseDistribution)}
    searched = {name: value for name, value in changes.items() if isinstance(value, BaseDistribution)}
    kept = {name: domain for name, domain in space.domains.items() if name not in fixed}
    left = {name: value for name, value in space.fixed.items() if name not in searched}
    new = {name: domain for name, domain in searched.items() if name not in kept}
    narrowed = replace(
        space,
        domains={**new, **{name: searched.get(name, domain) for name, domain in kept.items()}},
        conditions={name: others for name, others in space.conditions.items() if name not in changes or name in kept},
        fixed={**left, **fixed},
    )
    return _settled(narrowed)


def _settled(space: Space) -> Space:
    """The space without the conditions that held knobs meet, and without the knobs that held knobs rule out."""
    domains, conditions = dict(space.domains), dict(space.conditions)
    for name in space.domains:
        others = conditions.pop(name, {})
        if any(space.fixed.get(other) not in [*values] for other, values in others.items() if other not in domains):
            del domains[name]
        elif searched := {other: values for other, values in others.items() if other in domains}:
            conditions[name] = searched
    return replace(space, domains=domains, conditions=conditions)


def _read(name: str, text: str, domain: BaseDistribution | None) -> Knob | BaseDistribution:
    """A value, or a distribution of the kind of the space's own."""
    if "|" in text:
        words = [_value(name, part.strip(), domain) for part in text.split("|")]
        if len(set(words)) < len(words) or len({type(word) for word in words}) > 1:
            raise ValueError(f"{name}={text}: not a list of different values of one kind")
        return CategoricalDistribution(words)
    ends = re.fullmatch(r"(.+?)\.\.(.+?)(?:/(.+))?", text)
    if ends is None:
        return _value(name, text, domain)
    low, high = (_value(name, part.strip(), domain) for part in ends.group(1, 2))
    step = None if ends.group(3) is None else _value(name, ends.group(3).strip(), domain)
    numbers = (low, high) if step is None else (low, high, step)
    if any(isinstance(number, bool | str) or not math.isfinite(number) for number in numbers):
        raise ValueError(f"{name}={text}: the ends of a range must be numbers")
    log = step is None and bool(getattr(domain, "log", False))
    try:
        if all(isinstance(number, int) for number in numbers):
            return IntDistribution(int(low), int(high), log=log, step=1 if step is None else int(step))
        return FloatDistribution(float(low), float(high), log=log, step=None if step is None else float(step))
    except ValueError as error:
        raise ValueError(f"{name}={text}: {error}") from error


def _value(name: str, text: str, domain: BaseDistribution | None) -> Knob:
    """A knob's value: of its domain's kind, or a literal, or a word."""
    value: object
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        value = text
    if isinstance(domain, FloatDistribution) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    word_for_truth = domain is not None and kind(domain) is bool and isinstance(value, str)  # the strategy knows it
    if not isinstance(value, Knob) or not (domain is None or type(value) is kind(domain) or word_for_truth):
        raise ValueError(f"{name}={text}: not a value of {name}, which is searched in {domain}")
    return value
