"""What the distribution of a knob holds."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial


def values(domain: BaseDistribution) -> Sequence[Any] | None:
    """Every value of a domain, or None if it is continuous."""
    if isinstance(domain, CategoricalDistribution):
        return domain.choices
    if isinstance(domain, IntDistribution):
        return range(domain.low, domain.high + 1, domain.step)
    assert isinstance(domain, FloatDistribution)
    if domain.step is None:
        return None
    steps = round((domain.high - domain.low) / domain.step)
    return [domain.low + number * domain.step for number in range(steps + 1)]


def lies_in(value: Any, domain: BaseDistribution) -> bool:
    """Whether a value is one of a domain's."""
    try:
        create_trial(value=0.0, params={"knob": value}, distributions={"knob": domain})  # Optuna checks it
    except ValueError:  # outside, of another kind, or a word that is not searched
        return False
    return True


def kind(domain: BaseDistribution) -> type:
    """The Python type of a domain's values."""
    return type(domain.to_external_repr(getattr(domain, "low", 0)))
