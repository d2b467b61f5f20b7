"""Whether the forget subjects' Dice is that of the retrained references, within a margin."""

import numpy as np

from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics import significance
from study.records.evidence import EvidenceColumn

_QUESTION = "Does it treat the forgotten like a retrained network?"


def equivalence(findings: Findings) -> dict[str, float]:
    """Two one-sided tests over the forget subjects; NaN without a reference."""
    if not findings.retrained:
        return {"equivalence_p": np.nan}
    references = np.mean([other.forget["dice"] for other in findings.retrained.values()], axis=0)
    differences = findings.network.forget["dice"] - references
    return {"equivalence_p": significance.equivalence(differences[np.isfinite(differences)])}


CONCLUSION = Conclusion(
    equivalence, {"equivalence_p": EvidenceColumn("float", "Equivalence p", _QUESTION, "below 0.05")}
)
