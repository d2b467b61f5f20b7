"""The threshold attack on the Dice: whose Dice is large is taken for a member."""

from analysis.evidence.auc import auc_columns, auc_values
from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics.membership import comparisons


def dice_attack(findings: Findings) -> dict[str, float]:
    """Forget against held-out subjects by their Dice."""
    forget, heldout = (scores["dice"] for scores in (findings.network.forget, findings.network.heldout))
    return auc_values("dice_auc", comparisons(forget, heldout))


CONCLUSION = Conclusion(dice_attack, auc_columns("dice_auc", "Dice attack AUC"))
