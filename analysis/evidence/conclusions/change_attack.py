"""An attacker who holds the baseline too: whose outputs changed more than retraining changes them was unlearned.

Retraining changes the forget subjects most as well, so each subject's change is divided by the retrained references'.
"""

import numpy as np

from analysis.evidence.conclusion import Findings, attack


def _scores(findings: Findings) -> list[np.ndarray] | None:
    own = findings.network.measures.get("change")
    others = [other.measures["change"] for other in findings.retrained.values() if "change" in other.measures]
    if own is None or not others:
        return None
    return np.split(own / np.mean(others, 0), [len(findings.network.forget["dice"])])


CONCLUSION = attack("change_auc", "Change attack AUC", _scores)
