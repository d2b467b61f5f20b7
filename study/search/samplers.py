"""Optuna's samplers by the word on the command line, and what each of them can search."""

from collections.abc import Callable
from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import (
    BaseSampler,
    BruteForceSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from search_spaces.space import Space

_POPULATION = 20
"""Trials of a generation of nsga2 and nsga3: several generations in a study of a hundred trials."""


@dataclass(frozen=True)
class Sampler:
    """A way to choose the next trial.

    Attributes:
        build: makes it for a space and a seed.
        constrained: it steers by the constraints; the others only have their trials marked.
        words: it searches choices among words, not numbers only.
        conditions: it searches knobs that are there in some trials only.
        must_be_asked: it counts its own proposals. A trial of an earlier session must be proposed by it as well,
            or else it takes no note of that trial's result.
    """

    build: Callable[[Space, int], BaseSampler]
    constrained: bool = True
    words: bool = True
    conditions: bool = True
    must_be_asked: bool = False


class _Grid(BruteForceSampler):
    """Every combination once, in random order."""

    def after_trial(self, *_: object) -> None:
        """Nothing: Optuna would stop its own loop here, and there is none."""


def _tpe(space: Space, seed: int) -> BaseSampler:
    grouped = bool(space.conditions)
    return TPESampler(seed=seed, multivariate=True if grouped else None, group=grouped, constant_liar=True)


SAMPLERS = {
    "tpe": Sampler(_tpe),
    "nsga2": Sampler(lambda space, seed: NSGAIISampler(seed=seed, population_size=_POPULATION), must_be_asked=True),
    "nsga3": Sampler(lambda space, seed: NSGAIIISampler(seed=seed, population_size=_POPULATION), must_be_asked=True),
    "gp": Sampler(lambda space, seed: GPSampler(seed=seed), conditions=False),
    "random": Sampler(lambda space, seed: RandomSampler(seed=seed), constrained=False),
    "grid": Sampler(lambda space, seed: _Grid(seed=seed), constrained=False),
    "qmc": Sampler(
        lambda space, seed: QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
        constrained=False,
        words=False,
        conditions=False,
        must_be_asked=True,
    ),
}


def problems(name: str, space: Space) -> list[str]:
    """Why a sampler cannot search a space; empty if it can."""
    sampler, reasons = SAMPLERS[name], []
    words = [knob for knob, domain in space.domains.items() if isinstance(domain, CategoricalDistribution)]
    if words and not sampler.words:
        reasons.append(f"{name} searches numbers only: hold {', '.join(words)} with --set, or choose another sampler")
    if space.conditions and not sampler.conditions:
        reasons.append(
            f"{name} searches knobs that every trial has: hold with --set what {', '.join(space.conditions)}"
            " depend on, or choose another sampler"
        )
    if name == "grid":
        endless = [
            knob
            for knob, domain in space.domains.items()
            if isinstance(domain, FloatDistribution) and domain.step is None
        ]
        if endless:
            reasons.append(
                f"grid needs a list or a step for {', '.join(endless)}:"
                f" --set {endless[0]}=A|B|C or --set {endless[0]}=LOW..HIGH/STEP"
            )
    return reasons
