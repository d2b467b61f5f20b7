"""Whether the forget Dice lies where one more retrained network's would."""

from typing import Any

import numpy as np

from analysis.evidence.conclusion import Conclusion, Findings, defined_mean
from analysis.statistics.significance import prediction_interval
from study.records.evidence import EvidenceColumn

_BOUND = EvidenceColumn("float", "", "Does it treat the forgotten like a retrained network?", "about its forget Dice")


def as_retrained(findings: Findings) -> dict[str, Any]:
    """The 95 % prediction interval of the references' forget Dice, and on which side of it the network is."""
    references = [defined_mean(other.forget["dice"]) for other in findings.retrained.values()]
    low, high = prediction_interval(np.array(references))
    dice = defined_mean(findings.network.forget["dice"])
    known = bool(np.isfinite(low) and np.isfinite(dice))
    sides = {"remembers": dice > high if known else None, "over_forgets": dice < low if known else None}
    return {"retrained_low": low, "retrained_high": high, **sides}


CONCLUSION = Conclusion(
    as_retrained,
    {
        "retrained_low": _BOUND,
        "retrained_high": _BOUND,
        "remembers": EvidenceColumn("bool"),
        "over_forgets": EvidenceColumn("bool"),
    },
)
