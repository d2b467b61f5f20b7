"""The loss attack over further random forget sets, each under its own network: for few forget subjects."""

from analysis.evidence.conclusion import attack
from analysis.statistics.membership import pooled_auc

CONCLUSION = attack(
    "pooled_auc",
    "Pooled loss attack AUC",
    lambda findings: pooled_auc(list(findings.draws)) if findings.draws else None,
)
