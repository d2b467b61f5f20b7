"""A conclusion: some columns of the evidence, and the function that fills them from what was measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from study.records.evidence import EvidenceColumn

Scores = Mapping[str, np.ndarray]
"""Of N subjects: `dice` (N,), `class_dice` (N, C - 1), `cross_entropy` (N,), `confidence` (N,), `features` (N, E)."""


class Examined(NamedTuple):
    """What was measured of one network.

    Attributes:
        forget: scores of the forget subjects.
        heldout: scores of the held-out subjects that the report may see.
        measures: measure -> one number, shape (), or one for each forget subject, (N,); infinite where there was no
            end. A measure that could not be taken is missing.
    """

    forget: Scores
    heldout: Scores
    measures: Mapping[str, np.ndarray]


class Shadows(NamedTuple):
    """What shadow networks give for the forget and then the held-out subjects; NaN where one is not of that world.

    Attributes:
        inside: (N, S) scores' `confidence` of networks that had a subject and, for a trial, unlearned it.
        outside: (N, S) of networks that never had it and, for a trial, unlearned others.
        likelihood: (N, S) exp(-cross-entropy) of all of them, before unlearning.
    """

    inside: np.ndarray
    outside: np.ndarray
    likelihood: np.ndarray


class Findings(NamedTuple):
    """All that a conclusion on a network is drawn from.

    Attributes:
        network: what was measured of it.
        retrained: the references to compare with, by name; the network itself is not among them.
        shadows: of the attacks that need them, or nothing.
        draws: (N, M) comparisons of the loss attack for each further draw of forget subjects.
    """

    network: Examined
    retrained: Mapping[str, Examined]
    shadows: Shadows | None = None
    draws: Sequence[np.ndarray] = ()


Function = Callable[[Findings], Mapping[str, Any]]
"""From the findings to values of the columns; those that it leaves out are null."""


@dataclass(frozen=True)
class Conclusion:
    """What a file of conclusions/ holds.

    Attributes:
        function: fills the columns.
        columns: of the evidence, by name.
    """

    function: Function
    columns: Mapping[str, EvidenceColumn]


def defined_mean(values: np.ndarray) -> float:
    """Mean of what is finite, NaN if nothing is."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan
