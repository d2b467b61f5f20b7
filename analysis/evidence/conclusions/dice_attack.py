"""The threshold attack on the Dice: whose Dice is large is taken for a member."""

from analysis.evidence.conclusion import attack

CONCLUSION = attack(
    "dice_auc",
    "Dice attack AUC",
    lambda findings: (findings.network.forget["dice"], findings.network.heldout["dice"]),
)
