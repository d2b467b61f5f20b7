"""A linear probe of the encoder: whether its features tell forget from held-out subjects."""

from analysis.evidence.auc import auc_columns, auc_values
from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics import membership


def probe_attack(findings: Findings) -> dict[str, float]:
    """Logistic regression on the averaged features, each pair left out in turn."""
    network = findings.network
    return auc_values("probe_auc", membership.probe(network.forget["features"], network.heldout["features"]))


CONCLUSION = Conclusion(probe_attack, auc_columns("probe_auc", "Probe AUC"))
