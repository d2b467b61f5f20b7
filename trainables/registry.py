"""What is found by its name: a file of ours, an entry point of an installed package, or `package.module:name`.

Listing names and finding a source file import nothing, so that a command can do both without torch and ray.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pkgutil import get_importer, iter_modules
from typing import Any

_ADDRESS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""`package.module:name`."""


@dataclass(frozen=True)
class Registry:
    """Things of one kind; a new one is one file of ours, or an entry point of an installed package.

    Attributes:
        kind: what messages call one of them.
        package: ours; each of its modules holds one of them.
        group: of the entry points of other packages.
        type: the class, or tuple of classes, that they are instances of.
        attribute: what a module of ours calls it; by default as the module is called.
        others: modules of our package that hold none.
    """

    kind: str
    package: str
    group: str
    type: Any
    attribute: str = ""
    others: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """Every name that is known here, sorted."""
        return sorted({name for name, _, _ in self._offers()})

    def address(self, name: str) -> str:
        """Where a thing is, as `package.module:name`.

        Raises:
            ValueError: for a name that nobody offers, with those that somebody does; for one that several offer.
        """
        if _ADDRESS.fullmatch(name):
            return name
        offers = {address: owner for known, owner, address in self._offers() if known == name}
        if not offers:
            names = ", ".join(self.names())
            raise ValueError(f"no {self.kind} {name!r}; there are {names}, or package.module:name of your own")
        if len(offers) > 1:
            all_of_them = " and ".join(f"{owner} ({address})" for address, owner in offers.items())
            raise ValueError(f"{self.kind} {name!r} is offered by {all_of_them}: say which by what is in brackets")
        return next(iter(offers))

    def load(self, name: str) -> Any:
        """The thing itself; its module is imported.

        Raises:
            ValueError: none has that name, its module cannot be imported or lacks it, or it is of another kind.
        """
        address = self.address(name)
        module, _, attribute = address.partition(":")
        what = f"{self.kind} {name!r}"
        try:
            imported = import_module(module)
        except Exception as error:
            raise ValueError(f"{what}: {module} cannot be imported ({type(error).__name__}: {error})") from error
        if not hasattr(imported, attribute):
            raise ValueError(f"{what}: {imported.__file__} has no {attribute!r}")
        thing = getattr(imported, attribute)
        if not isinstance(thing, self.type):
            raise ValueError(f"{what}: {address} is no {self.kind} but of type {type(thing).__name__}")
        return thing

    def source(self, name: str) -> tuple[str, str]:
        """The text of the module that holds a thing, and what it is called there; nothing is imported.

        Raises:
            ValueError: there is none of that name, or no source of its module.
        """
        module, _, attribute = self.address(name).partition(":")
        spec = _spec(module)
        text = getattr(spec.loader, "get_source", lambda _: None)(spec.name) if spec else None
        if text is None:
            raise ValueError(f"{self.kind} {name!r}: there is no source of a module {module!r}")
        return text, attribute

    def _offers(self) -> list[tuple[str, str, str]]:
        """Name, owner and address of everything that we and the installed packages have."""
        modules = [module.name for module in iter_modules(import_module(self.package).__path__)]
        own = [name for name in modules if name not in self.others]
        ours = [(name, "Lethe", f"{self.package}.{name}:{self.attribute or name}") for name in own]
        points = [
            (point.name, point.dist.name if point.dist else "a package", f"{point.module}:{point.attr}")
            for point in _points(self.group, tuple(sys.path))
        ]
        return [*ours, *points]


@cache
def _points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entry points of a group in the packages on a path; to look through them all takes a tenth of a second."""
    return tuple(entry_points(group=group))


def _spec(module: str) -> ModuleSpec | None:
    """Where a module is; its packages are not imported."""
    first, *rest = module.split(".")
    try:
        spec = find_spec(first)
    except ValueError:  # a module that runs as a script, which has none
        return None
    for name in rest:
        if spec is None:
            return None
        package = spec.name
        places = getattr(sys.modules.get(package), "__path__", spec.submodule_search_locations or [])
        finders = filter(None, map(get_importer, places))
        specs = [spec for finder in finders if (spec := finder.find_spec(f"{package}.{name}"))]
        spec = min(specs, key=lambda spec: spec.loader is None, default=None)  # a file before a bare folder
    return spec


STRATEGIES = Registry("strategy", "trainables.strategies", "lethe.strategies", Callable)
"""Functions whose keyword arguments are the strategy's knobs."""

READERS = Registry("reader", "trainables.cohorts.readers", "lethe.readers", Callable, attribute="read")
"""Functions of a path and a contrast that list a cohort."""
