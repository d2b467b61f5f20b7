"""LiRA, for a trial U-LiRA: a subject's confidence beside that of shadow networks that had it and had not."""

import numpy as np

from analysis.evidence.conclusion import Findings, attack
from analysis.statistics.intervals import Interval
from analysis.statistics.membership import auc, comparisons, confidence_logit, likelihood_ratio


def _auc(findings: Findings) -> Interval | None:
    (forget, heldout, _), shadows = findings.network, findings.shadows
    if shadows is None:
        return None
    confidence = np.concatenate([forget["confidence"], heldout["confidence"]])
    ratios = likelihood_ratio(*map(confidence_logit, (confidence, shadows.inside, shadows.outside)))
    return auc(comparisons(*np.split(ratios, [len(forget["confidence"])])))


CONCLUSION = attack("lira_auc", "LiRA attack AUC", _auc)
