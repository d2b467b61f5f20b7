"""From the measurements of a network to the evidence columns of the records (docs/evidence.md defines them)."""

import math
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from analysis.evidence import conclusions as conclusions_package
from analysis.evidence.conclusion import Conclusion, Examined, Findings
from analysis.statistics.membership import FEW


@cache
def conclusions() -> dict[str, Conclusion]:
    """Every file of analysis/evidence/conclusions: its name and its conclusion."""
    names = sorted(module.name for module in iter_modules(conclusions_package.__path__))
    return {name: import_module(f"{conclusions_package.__name__}.{name}").CONCLUSION for name in names}


class Evidence(NamedTuple):
    """The evidence columns that have a value, and conclusion -> why it could not be drawn."""

    columns: dict[str, Any]
    problems: dict[str, str]


def conclude(findings: Findings) -> Evidence:
    """Draw every conclusion; one that fails costs no other its columns."""
    evidence = Evidence(_measured(findings.network, findings.retrained), {})
    for name, conclusion in conclusions().items():
        try:
            evidence.columns.update(conclusion.function(findings))
        except Exception as error:  # whatever it meets in these data, the others are none the worse for it
            evidence.problems[name] = f"{type(error).__name__}: {error}"
    return evidence


def weaknesses(forget: int, heldout: int, references: int, draws: int) -> list[str]:
    """What makes the evidence of these numbers of subjects, references and draws weak, one sentence each."""
    sentences = []
    if min(forget, heldout) < FEW:
        sentences.append(
            f"Membership attacks compare {forget} forget with {heldout} held-out subjects: an AUC says little"
            + ("." if draws else "; --forget-draws K pools over random forget sets.")
        )
    if references < 2:
        sentences.append(
            f"{references} retrained reference for the report: no prediction interval; give --references 3."
        )
    elif references < 5:
        sentences.append(f"{references} retrained references for the report: their prediction interval is wide.")
    return sentences


def _measured(network: Examined, retrained: Mapping[str, Examined]) -> dict[str, float]:
    """Each measure's mean over the forget subjects, and what the retrained references give on average."""
    columns: dict[str, float] = {}
    for name, values in network.measures.items():
        others = [_mean(other.measures[name]) for other in retrained.values() if name in other.measures]
        columns |= {name: _mean(values), f"{name}_retrained": _mean(np.array(others))}
    return columns


def _mean(values: np.ndarray) -> float:
    """Mean of what is defined, infinite if one of them is; NaN if nothing is."""
    defined = [value for value in values.flat if not math.isnan(value)]
    return fmean(defined) if defined else math.nan
