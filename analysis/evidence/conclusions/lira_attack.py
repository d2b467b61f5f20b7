"""The likelihood-ratio attack: how a subject's confidence compares with shadow networks that had it and had not."""

import numpy as np

from analysis.evidence.auc import auc_columns, auc_values
from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics.membership import comparisons, confidence_logit, likelihood_ratio


def lira_attack(findings: Findings) -> dict[str, float]:
    """LiRA, for a trial U-LiRA; nothing without shadow networks."""
    network, shadows = findings.network, findings.shadows
    if shadows is None:
        return {}
    confidence = np.concatenate([network.forget["confidence"], network.heldout["confidence"]])
    ratios = likelihood_ratio(*map(confidence_logit, (confidence, shadows.inside, shadows.outside)))
    members = len(network.forget["confidence"])
    return auc_values("lira_auc", comparisons(ratios[:members], ratios[members:]))


CONCLUSION = Conclusion(lira_attack, auc_columns("lira_auc", "LiRA attack AUC"))
