"""A conclusion: some columns of the evidence, and the function that fills them from what was measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.statistics.membership import comparisons, permutation_p
from study.records.evidence import ATTACK, EvidenceColumn

LIKE_RETRAINED = "Does it treat the forgotten like a retrained network?"
"""The question that several conclusions answer."""

Scores = Mapping[str, np.ndarray]
"""Of N subjects: `dice` (N,), `class_dice` (N, C - 1), `cross_entropy` (N,), `confidence` (N,), `features` (N, E)."""


class Examined(NamedTuple):
    """What was measured of one network.

    Attributes:
        forget: scores of the forget subjects.
        heldout: scores of the held-out subjects that the report may see.
        measures: measure -> one number, shape (), or one for each forget subject, (F,), or for each forget and
            held-out subject, (F + H,); infinite where there was no end. What could not be measured is missing.
        quality: column -> value, of surfaces.
    """

    forget: Scores
    heldout: Scores
    measures: Mapping[str, np.ndarray]
    quality: Mapping[str, float] = {}


class Shadows(NamedTuple):
    """What shadow networks give for the forget and then the held-out subjects.

    Attributes:
        had: (N, S) whether a network was taught the subject.
        fitted: score -> (N, S) as the networks were fitted.
        unlearned: (N, S) scores' `confidence` after each network has unlearned those that it had by the trial's
            recipe; as fitted beside a network that unlearned nothing.
    """

    had: np.ndarray
    fitted: Scores
    unlearned: np.ndarray


class Findings(NamedTuple):
    """All that a conclusion on a network is drawn from.

    Attributes:
        network: what was measured of it.
        retrained: the references to compare with, by name; the network itself is not among them.
        seen: networks that were trained on the forget subjects: the baseline.
        shadows: of the attacks that need them, or nothing.
        draws: (N, M) comparisons of the loss attack for each further draw of forget subjects.
    """

    network: Examined
    retrained: Mapping[str, Examined]
    seen: Mapping[str, Examined]
    shadows: Shadows | None = None
    draws: Sequence[np.ndarray] = ()


class Judged(NamedTuple):
    """What the verdict must know of a measure.

    Attributes:
        title: in words.
        unit: `steps` for whole numbers that may be infinite.
        scale: `log` where networks are compared by the logarithm of its values.
        remembered: `more` or `less` of a network that remembers.
        judged: it is part of the verdict.
    """

    title: str
    unit: str = ""
    scale: str = "plain"
    remembered: str = "more"
    judged: bool = True


class Terms(NamedTuple):
    """What a verdict is about.

    Attributes:
        measures: by name.
        subjects: pseudonyms of the forget subjects.
        margin: residual memory that counts as none, to either side.
        references: how many retrained references the study has.
    """

    measures: Mapping[str, Judged]
    subjects: Sequence[str]
    margin: float
    references: int


Function = Callable[[Findings], Mapping[str, Any]]
"""From the findings to values of columns; those that it leaves out are null."""


class Conclusion(NamedTuple):
    """What a file of conclusions/ holds.

    Attributes:
        function: fills the columns.
        columns: of the evidence, by name.
    """

    function: Function
    columns: Mapping[str, EvidenceColumn]


def attack(name: str, title: str, scores: Callable[[Findings], Sequence[np.ndarray] | None]) -> Conclusion:
    """An attack on membership: the column `name` holds its AUC, `<name>_p` the exact p that both groups score alike.

    Args:
        name: of the first column.
        title: of its values.
        scores: those of the forget and of the held-out subjects; None without the findings that the attack needs.
    """

    def values(findings: Findings) -> dict[str, float]:
        found = scores(findings)
        if found is None:
            return {}
        forget, heldout = (group[np.isfinite(group)] for group in found)
        return {name: defined_mean(comparisons(forget, heldout)), f"{name}_p": permutation_p(forget, heldout)}

    return Conclusion(values, {name: auc_column(title), f"{name}_p": EvidenceColumn()})


def auc_column(title: str) -> EvidenceColumn:
    """A column of AUCs."""
    return EvidenceColumn("float", title, ATTACK, "as retrained, 0.5 if both groups are equally hard")


def from_retrained(findings: Findings, score: str) -> np.ndarray:
    """Each forget subject's score minus the mean of the retrained references; NaN without a reference."""
    own, others = findings.network.forget[score], [other.forget[score] for other in findings.retrained.values()]
    return own - np.mean(others, axis=0) if others else np.full_like(own, np.nan)


def defined_mean(values: np.ndarray) -> float:
    """Mean of what is finite, NaN if nothing is."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan
