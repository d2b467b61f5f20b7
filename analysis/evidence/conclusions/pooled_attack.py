"""The loss attack over further random forget sets, each under its own network: for few forget subjects."""

import numpy as np

from analysis.evidence.conclusion import Conclusion, Findings, auc_column, defined_mean


def _auc(findings: Findings) -> dict[str, float]:
    """No p: the draws share their held-out subjects and their baseline."""
    return {"pooled_auc": defined_mean(np.stack(findings.draws))} if findings.draws else {}


CONCLUSION = Conclusion(_auc, {"pooled_auc": auc_column("Pooled loss attack AUC")})
