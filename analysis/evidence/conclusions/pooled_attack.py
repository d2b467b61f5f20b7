"""The loss attack over further random forget sets, for cohorts with few forget subjects."""

from analysis.evidence.auc import auc_columns, bounded
from analysis.evidence.conclusion import Conclusion, Findings
from analysis.statistics.membership import pooled_auc


def pooled_attack(findings: Findings) -> dict[str, float]:
    """Each draw is compared under its own network; nothing without draws."""
    return bounded("pooled_auc", pooled_auc(list(findings.draws))) if findings.draws else {}


CONCLUSION = Conclusion(pooled_attack, auc_columns("pooled_auc", "Pooled loss attack AUC"))
