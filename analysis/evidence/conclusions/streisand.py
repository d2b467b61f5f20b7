"""Whether the forgetting itself gives away who was erased: forget Dice below that of subjects never seen."""

from typing import Any

import numpy as np

from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics.significance import LEVEL, lower
from study.records.evidence import EvidenceColumn

_P = EvidenceColumn("float", "Streisand p", "Does the forgetting itself show who was erased?", "at least 0.05")


def _test(findings: Findings) -> dict[str, Any]:
    """A one-sided permutation test; NaN, and no flag, where a side has no Dice."""
    groups = [scores["dice"] for scores in (findings.network.forget, findings.network.heldout)]
    defined = [dice[np.isfinite(dice)] for dice in groups]
    p = lower(*defined) if all(map(len, defined)) else np.nan
    return {"streisand_p": p, "streisand": bool(p < LEVEL)}


CONCLUSION = Conclusion(_test, {"streisand_p": _P, "streisand": EvidenceColumn("bool")})
