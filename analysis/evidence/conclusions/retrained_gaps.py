"""How far single subjects and classes are from the retrained references: an average over all may hide it."""

import numpy as np

from analysis.evidence.conclusion import Conclusion, Findings, defined_mean, from_retrained
from study.records.evidence import EvidenceColumn

_QUESTION = "How far is it from a retrained network?"


def _gaps(findings: Findings) -> dict[str, float]:
    """The largest distance of a forget subject, and of a class averaged over them; NaN without a reference."""
    by_class = [defined_mean(column) for column in from_retrained(findings, "class_dice").T]
    return {"subject_gap": _largest(from_retrained(findings, "dice")), "class_gap": _largest(np.array(by_class))}


def _largest(gaps: np.ndarray) -> float:
    defined = gaps[np.isfinite(gaps)]
    return float(np.abs(defined).max()) if len(defined) else np.nan


CONCLUSION = Conclusion(
    _gaps,
    {
        "subject_gap": EvidenceColumn("float", "Subject gap", _QUESTION, "as retrained"),
        "class_gap": EvidenceColumn("float", "Class gap", _QUESTION, "as retrained"),
    },
)
