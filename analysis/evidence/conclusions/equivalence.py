"""Whether the forget subjects' Dice is that of the retrained references, within a margin: two one-sided tests."""

import numpy as np

from analysis.evidence.conclusion import LIKE_RETRAINED, Conclusion, Findings
from analysis.statistics.significance import equivalence
from study.records.evidence import EvidenceColumn


def _p(findings: Findings) -> dict[str, float]:
    references = np.array([other.forget["dice"] for other in findings.retrained.values()])
    return {"equivalence_p": equivalence(findings.network.forget["dice"], references)}


CONCLUSION = Conclusion(_p, {"equivalence_p": EvidenceColumn("float", "Equivalence p", LIKE_RETRAINED, "below 0.05")})
