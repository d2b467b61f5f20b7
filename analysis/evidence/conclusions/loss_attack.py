"""The threshold attack on the loss: whose loss is small is taken for a member."""

from analysis.evidence.auc import auc_columns, auc_values
from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics.membership import comparisons


def loss_attack(findings: Findings) -> dict[str, float]:
    """Forget against held-out subjects by minus their cross-entropy."""
    forget, heldout = (scores["cross_entropy"] for scores in (findings.network.forget, findings.network.heldout))
    return auc_values("loss_auc", comparisons(-forget, -heldout))


CONCLUSION = Conclusion(loss_attack, auc_columns("loss_auc", "Loss attack AUC"))
