"""The relative attack: how many held-out subjects a subject outdoes in likelihood, relative to shadow networks."""

import numpy as np

from analysis.evidence.auc import auc_columns, auc_values
from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics.membership import comparisons, relative_membership


def rmia_attack(findings: Findings) -> dict[str, float]:
    """RMIA with gamma 1; nothing without shadow networks."""
    network, shadows = findings.network, findings.shadows
    if shadows is None:
        return {}
    loss = np.concatenate([network.forget["cross_entropy"], network.heldout["cross_entropy"]])
    members = len(network.forget["cross_entropy"])
    shares = relative_membership(np.exp(-loss), shadows.likelihood, np.arange(members, len(loss)))
    return auc_values("rmia_auc", comparisons(shares[:members], shares[members:]))


CONCLUSION = Conclusion(rmia_attack, auc_columns("rmia_auc", "RMIA attack AUC"))
