"""A linear probe of the encoder's averaged features: whether they tell forget from held-out subjects."""

from analysis.evidence.conclusion import attack
from analysis.statistics.membership import auc, probe

CONCLUSION = attack(
    "probe_auc",
    "Probe AUC",
    lambda findings: auc(probe(findings.network.forget["features"], findings.network.heldout["features"])),
)
