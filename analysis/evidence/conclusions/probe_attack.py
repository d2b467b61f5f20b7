"""A linear probe of the encoder's averaged features: whether they tell forget from held-out subjects."""

from analysis.evidence.conclusion import Conclusion, Findings, auc_column, defined_mean
from analysis.statistics.membership import probe


def _auc(findings: Findings) -> dict[str, float]:
    """No p: it would take a probe for every choice of subjects."""
    return {
        "probe_auc": defined_mean(probe(findings.network.forget["features"], findings.network.heldout["features"]))
    }


CONCLUSION = Conclusion(_auc, {"probe_auc": auc_column("Probe AUC")})
