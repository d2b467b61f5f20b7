"""From the measurements of a network to the evidence columns of the records (docs/evidence.md defines them)."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, NamedTuple

import numpy as np

from analysis.evidence import conclusions as conclusions_package
from analysis.evidence.conclusion import Conclusion, Findings, Function, Terms
from analysis.evidence.places import places_of
from analysis.evidence.verdict import forget_mean, judge, mean_of, memories_of
from analysis.statistics.intervals import with_bounds
from analysis.statistics.places import Place
from analysis.statistics.residual import Memory


@cache
def conclusions() -> dict[str, Conclusion]:
    """Every file of analysis/evidence/conclusions: its name and its conclusion."""
    names = sorted(module.name for module in iter_modules(conclusions_package.__path__))
    return {name: import_module(f"{conclusions_package.__name__}.{name}").CONCLUSION for name in names}


class Evidence(NamedTuple):
    """What was concluded.

    Attributes:
        columns: of the evidence that have a value.
        problems: conclusion -> why it could not be drawn.
        memories: the residual memory by measure.
        places: of every forget subject, by score.
    """

    columns: dict[str, Any]
    problems: dict[str, str]
    memories: dict[str, Memory]
    places: dict[str, list[Place]]


def conclude(findings: Findings, terms: Terms) -> Evidence:
    """Draw every conclusion, and the verdict; one that fails costs no other its columns."""
    columns: dict[str, Any] = {**findings.network.quality, **_measured(findings, len(terms.subjects))}
    evidence = Evidence(columns, {}, {}, {})
    drawn: dict[str, Function] = {name: conclusion.function for name, conclusion in conclusions().items()}
    drawn["verdict"] = lambda findings: _judged(findings, terms, evidence.memories)
    drawn["places"] = lambda findings: _placed(findings, evidence.places)
    for name, function in drawn.items():
        try:
            columns.update(function(findings))
        except Exception as error:  # whatever it meets in these data, the others are none the worse for it
            evidence.problems[name] = f"{type(error).__name__}: {error}"
    return evidence


def _judged(findings: Findings, terms: Terms, memories: dict[str, Memory]) -> dict[str, Any]:
    """The columns of the residual memory and of the verdict; `memories` is filled."""
    memories.update(memories_of(findings, terms))
    residuals = with_bounds({f"{name}_residual": memory.group for name, memory in memories.items()})
    return {**residuals, **judge(memories, findings, terms)}


def _placed(findings: Findings, places: dict[str, list[Place]]) -> dict[str, Any]:
    """No column; `places` is filled."""
    places.update(places_of(findings))
    return {}


def _measured(findings: Findings, forget: int) -> dict[str, Any]:
    """Each measure's mean over the forget subjects, and what the retrained references give on average."""
    columns: dict[str, Any] = {}
    for name, values in findings.network.measures.items():
        others = [other.measures[name] for other in findings.retrained.values() if name in other.measures]
        retrained = mean_of(np.array([forget_mean(other, forget) for other in others]))
        columns |= {name: forget_mean(values, forget), f"{name}_retrained": retrained}
    return columns
