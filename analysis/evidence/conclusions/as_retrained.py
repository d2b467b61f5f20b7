"""Whether the forget Dice lies in the 95 % prediction interval of one more retrained network's, or on which side."""

from typing import Any

import numpy as np

from analysis.evidence.conclusion import LIKE_RETRAINED, Conclusion, Findings, defined_mean
from analysis.statistics.significance import prediction_interval
from study.records.evidence import EvidenceColumn

_BOUND = EvidenceColumn("float", "", LIKE_RETRAINED, "about its forget Dice")


def _side(findings: Findings) -> dict[str, Any]:
    references = [defined_mean(other.forget["dice"]) for other in findings.retrained.values()]
    low, high = prediction_interval(np.array(references))
    dice = defined_mean(findings.network.forget["dice"])
    known = bool(np.isfinite(low) and np.isfinite(dice))
    sides = {"remembers": dice > high if known else None, "over_forgets": dice < low if known else None}
    return {"retrained_low": low, "retrained_high": high, **sides}


CONCLUSION = Conclusion(
    _side,
    {"retrained_low": _BOUND, "retrained_high": _BOUND}
    | {"remembers": EvidenceColumn("bool"), "over_forgets": EvidenceColumn("bool")},
)
