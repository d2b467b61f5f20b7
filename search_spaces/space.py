"""What a study runs: a search space, or a suite of fixed recipes."""

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from random import Random
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_spaces.domains import kind, lies_in, values
from trainables.recipe import Recipe
from trainables.registry import STRATEGIES, Registry

Knob = float | int | str | bool


@dataclass(frozen=True)
class Published:
    """A published point to compare with: Dice in [0, 1] and where it stands."""

    retain_dice: float
    forget_dice: float
    source: str


@dataclass(frozen=True)
class Space:
    """What a study searches.

    Attributes:
        strategy: its name: a file in trainables/strategies, one of an installed package, or `package.module:name`.
        domains: knob -> distribution; a knob is a keyword of the preset or a field of the recipe. `epochs` (whole
            numbers) is searched or fixed in every space.
        conditions: knob -> earlier knob -> the values of the earlier one at which the first is searched. Elsewhere,
            and where the earlier one is not searched itself, the preset's default holds.
        fixed: knobs that every trial shares.
        first: published configurations, tried before the search; those that lie in the domains.
        published: the point of the strategy's paper, drawn beside the front.

    Raises:
        ValueError: for a strategy that does not exist, a knob that it does not take, with those it has, or a
            condition on a knob that does not come first.
    """

    strategy: str
    domains: Mapping[str, BaseDistribution]
    conditions: Mapping[str, Mapping[str, Iterable[Knob]]] = field(default_factory=dict)
    fixed: Mapping[str, Knob] = field(default_factory=dict)
    first: Sequence[Mapping[str, Knob]] = ()
    published: Published | None = None

    def __post_init__(self) -> None:
        _check_knobs(self.strategy, [*self.domains, *self.fixed, *(name for knobs in self.first for name in knobs)])
        if not ("epochs" in self.fixed or self.knobs.get("epochs") is int):
            raise ValueError(f"the space of {self.strategy!r} must search `epochs` in whole numbers, or fix it")
        order = [*self.fixed, *self.domains]
        if set(self.conditions) - set(order):
            raise ValueError(f"the space of {self.strategy!r} has conditions on knobs that it does not search")
        for knob, others in self.conditions.items():
            late = [other for other in others if other not in order[: order.index(knob)]]
            if late:
                raise ValueError(
                    f"the condition on {knob!r} of the space of {self.strategy!r} needs {late} before it"
                )

    @property
    def knobs(self) -> dict[str, type]:
        """Each knob and the Python type of its values."""
        searched = {name: kind(domain) for name, domain in self.domains.items()}
        return {**{name: type(value) for name, value in self.fixed.items()}, **searched}

    @property
    def epochs(self) -> Sequence[int]:
        """Every number of epochs that a trial can have."""
        epochs: Any = values(self.domains["epochs"]) if "epochs" in self.domains else [self.fixed["epochs"]]
        return epochs

    def active(self, knob: str, before: Mapping[str, Knob]) -> bool:
        """Whether a knob is searched, given the knobs before it."""
        others = self.conditions.get(knob, {})
        return all(other in before and before[other] in values for other, values in others.items())

    @property
    def size(self) -> int | None:
        """How many configurations there are; None if more than 100,000, or if a knob is continuous."""
        configurations = self.configurations(0)
        count = None if configurations is None else sum(1 for _ in islice(configurations, 100_001))
        return None if count == 100_001 else count

    def configurations(self, seed: int) -> Iterator[dict[str, Knob]] | None:
        """Every configuration once, in an order that the seed decides; None where a knob is continuous."""
        rng, orders = Random(seed), {}
        for name, domain in self.domains.items():
            steps = values(domain)
            if steps is None:
                return None
            orders[name] = rng.sample(steps, len(steps))
        return self._combinations(orders, dict(self.fixed))

    @property
    def starts(self) -> list[dict[str, Knob]]:
        """The published configurations, with what is fixed; those that lie in the domains."""
        return [{**knobs, **self.fixed} for knobs in self.first if self.contains({**knobs, **self.fixed})]

    def contains(self, knobs: Mapping[str, Any]) -> bool:
        """Whether a configuration lies in the domains and agrees with what is fixed."""
        if any(name in knobs and knobs[name] != value for name, value in self.fixed.items()):
            return False
        known = {**self.fixed, **{name: knobs[name] for name in self.domains if knobs.get(name) is not None}}
        return all(
            name in known and lies_in(known[name], domain)
            for name, domain in self.domains.items()
            if self.active(name, known)
        )

    @property
    def corners(self) -> Iterator[dict[str, Knob]]:
        """Each combination of words (categories) with the lowest, then with the highest value of every number."""
        words = {name: domain.choices for name, domain in self.domains.items() if hasattr(domain, "choices")}
        for combination in self._combinations(words, dict(self.fixed)):
            numbers = [name for name in self.domains if name not in words and self.active(name, combination)]
            for end in ("low", "high"):
                yield {**combination, **{name: getattr(self.domains[name], end) for name in numbers}}

    def _combinations(
        self, values: Mapping[str, Sequence[Any]], before: dict[str, Knob]
    ) -> Iterator[dict[str, Knob]]:
        """Every combination of some knobs' values once, with the knobs before them and without those not active."""
        if not values:
            yield before
            return
        name, *_ = values
        later = {other: values[other] for other in values if other != name}
        for knob in [{name: value} for value in values[name]] if self.active(name, before) else [{}]:
            yield from self._combinations(later, {**before, **knob})

    def up_to(self, epochs: int) -> "Space":
        """The same space with at most this many epochs a trial; its own lower end gives way if it must."""
        first = [{**knobs, "epochs": min(int(knobs.get("epochs", epochs)), epochs)} for knobs in self.first]
        if "epochs" in self.fixed:
            return replace(self, fixed={**self.fixed, "epochs": min(int(self.fixed["epochs"]), epochs)}, first=first)
        domain = self.domains["epochs"]
        if isinstance(domain, CategoricalDistribution):
            kept = [value for value in domain.choices if isinstance(value, int) and value <= epochs] or [epochs]
            shorter: BaseDistribution = CategoricalDistribution(kept)
        else:
            assert isinstance(domain, IntDistribution)
            low = min(domain.low, epochs)
            shorter = IntDistribution(low, epochs - (epochs - low) % domain.step, log=domain.log, step=domain.step)
        return replace(self, domains={**self.domains, "epochs": shorter}, first=first)


@dataclass(frozen=True)
class Entry:
    """A fixed recipe of a suite.

    Attributes:
        strategy: its name, as that of a space.
        knobs: its values; `epochs` is the suite's longest horizon.
        published: horizon in epochs -> the published point.
    """

    strategy: str
    knobs: Mapping[str, Knob]
    published: Mapping[int, Published] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """Fixed recipes, each run with several seeds and reported after several numbers of epochs, the horizons.

    Attributes:
        entries: one per row of the table; a strategy may have several, with knobs of their own.
        horizons: epochs after which a trial is reported; it runs for the largest.
        seeds: trials of each recipe.

    Raises:
        ValueError: for a strategy that does not exist or a knob that it does not take.
    """

    entries: tuple[Entry, ...]
    horizons: tuple[int, ...] = (20, 50)
    seeds: int = 3

    def __post_init__(self) -> None:
        for entry in self.entries:
            _check_knobs(entry.strategy, entry.knobs)

    @property
    def knobs(self) -> dict[str, type]:
        """Each knob of any entry and the Python type of its values."""
        values = {name: value for entry in self.entries for name, value in self.knobs_of(entry).items()}
        return {name: type(value) for name, value in values.items()}

    def knobs_of(self, entry: Entry) -> dict[str, Knob]:
        """An entry's knobs, its epochs included."""
        return {**entry.knobs, "epochs": max(self.horizons)}


def knobs_of(strategy: str) -> tuple[str, ...]:
    """The knobs of a strategy: its preset's arguments and the recipe's fields.

    The preset's signature is read from its source, because importing it would import torch.

    Raises:
        ValueError: for a strategy that does not exist, with those that do.
    """
    text, name = STRATEGIES.source(strategy)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ValueError(f"strategy {strategy!r}: its module cannot be read ({error})") from error
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    preset = next(functions, None)
    if preset is None:
        raise ValueError(f"strategy {strategy!r}: its module defines no function {name!r}")
    arguments = [*preset.args.args, *preset.args.kwonlyargs]
    return (*(argument.arg for argument in arguments), *(recipe.name for recipe in fields(Recipe)))


def _check_knobs(strategy: str, names: Iterable[str]) -> None:
    known = knobs_of(strategy)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(f"strategy {strategy!r} has no knobs {unknown}; it has {sorted(known)}")


_OTHERS = frozenset({"domains", "narrowing", "space"})
SPACES = Registry("search space", "search_spaces", "lethe.spaces", (Space, Suite), "SPACE", _OTHERS)
"""Every search space and suite that has a name, and those that are written as `package.module:NAME`."""
