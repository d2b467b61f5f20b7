"""How far single subjects and classes are from the retrained references: an average over all may hide it."""

import numpy as np

from analysis.evidence.conclusion import Conclusion, Findings
from study.records.evidence import EvidenceColumn

_QUESTION = "How far is it from a retrained network?"


def retrained_gaps(findings: Findings) -> dict[str, float]:
    """The largest distance of a forget subject, and of a class averaged over them; NaN without a reference."""
    forget, retrained = findings.network.forget, findings.retrained.values()
    if not retrained:
        return {"subject_gap": np.nan, "class_gap": np.nan}
    by_subject = forget["dice"] - np.mean([other.forget["dice"] for other in retrained], axis=0)
    by_subject = by_subject[np.isfinite(by_subject)]
    by_class = forget["class_dice"] - np.mean([other.forget["class_dice"] for other in retrained], axis=0)
    classes = [abs(np.mean(column[np.isfinite(column)])) for column in by_class.T if np.isfinite(column).any()]
    return {
        "subject_gap": float(np.max(np.abs(by_subject))) if len(by_subject) else np.nan,
        "class_gap": float(max(classes, default=np.nan)),
    }


CONCLUSION = Conclusion(
    retrained_gaps,
    {
        "subject_gap": EvidenceColumn("float", "Subject gap", _QUESTION, "as retrained"),
        "class_gap": EvidenceColumn("float", "Class gap", _QUESTION, "as retrained"),
    },
)
