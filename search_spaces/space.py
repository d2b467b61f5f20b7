"""The type of a search space, and how a space is found by its name."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from optuna.distributions import BaseDistribution, IntDistribution

import search_spaces
from trainables import strategies
from trainables.recipe import Recipe

_NOT_SPACES = {"space"}


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
        strategy: file name of the preset in trainables/strategies.
        domains: knob -> distribution; a knob is a keyword of the preset or a field of the recipe, and `epochs`
            is always one of them.
        published: the point of the strategy's paper, drawn beside the front.

    Raises:
        ValueError: for a strategy that does not exist or a knob that it does not take, with those it has.
    """

    strategy: str
    domains: Mapping[str, BaseDistribution]
    published: Published | None = None

    def __post_init__(self) -> None:
        known = knobs_of(self.strategy)
        unknown = sorted(set(self.domains) - set(known))
        if unknown:
            raise ValueError(f"strategy {self.strategy!r} has no knobs {unknown}; it has {sorted(known)}")
        if not isinstance(self.domains.get("epochs"), IntDistribution):
            raise ValueError(f"the space of {self.strategy!r} must search `epochs` with an IntDistribution")

    @property
    def knobs(self) -> dict[str, type]:
        """Each knob and the Python type of its values."""
        return {name: type(domain.to_external_repr(_lowest(domain))) for name, domain in self.domains.items()}

    def up_to(self, epochs: int) -> "Space":
        """The same space with at most this many epochs a trial; its own lower end gives way if it must."""
        domain = self.domains["epochs"]
        assert isinstance(domain, IntDistribution)
        low = min(domain.low, epochs)
        shorter = IntDistribution(low, epochs - (epochs - low) % domain.step, log=domain.log, step=domain.step)
        return replace(self, domains={**self.domains, "epochs": shorter})


def knobs_of(strategy: str) -> tuple[str, ...]:
    """The knobs of a strategy: its preset's arguments and the recipe's fields.

    The preset's signature is read from its source, because importing it would import torch.

    Raises:
        ValueError: for a strategy that does not exist, with those that do.
    """
    folder = Path(next(iter(strategies.__path__)))
    presets = _modules(strategies.__path__)
    if strategy not in presets:
        raise ValueError(f"no strategy {strategy!r} in trainables/strategies; there are {presets}")
    tree = ast.parse((folder / f"{strategy}.py").read_text())
    preset = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == strategy)
    arguments = [*preset.args.args, *preset.args.kwonlyargs]
    return (*(argument.arg for argument in arguments), *(field.name for field in fields(Recipe)))


def names() -> list[str]:
    """Every search space there is."""
    return [name for name in _modules(search_spaces.__path__) if name not in _NOT_SPACES]


def load(name: str) -> Space:
    """The SPACE of search_spaces/<name>.py.

    Raises:
        ValueError: for a name that does not exist, with those that do.
    """
    if name not in names():
        raise ValueError(f"no search space {name!r}; there are: {', '.join(names())}")
    space = import_module(f"{search_spaces.__name__}.{name}").SPACE
    assert isinstance(space, Space)
    return space


def _modules(path: "list[str]") -> list[str]:
    return sorted(module.name for module in iter_modules(path))


def _lowest(domain: BaseDistribution) -> float:
    return getattr(domain, "low", 0)
