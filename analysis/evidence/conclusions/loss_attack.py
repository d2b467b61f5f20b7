"""The threshold attack on the loss: whose cross-entropy is small is taken for a member."""

from analysis.evidence.conclusion import attack

CONCLUSION = attack(
    "loss_auc",
    "Loss attack AUC",
    lambda findings: (-findings.network.forget["cross_entropy"], -findings.network.heldout["cross_entropy"]),
)
