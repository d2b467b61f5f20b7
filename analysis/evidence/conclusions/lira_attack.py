"""LiRA, for a trial U-LiRA: a subject's confidence beside that of shadow networks that had it and had not."""

import numpy as np

from analysis.evidence.conclusion import Findings, attack
from analysis.statistics.membership import confidence_logit, likelihood_ratio


def _scores(findings: Findings) -> list[np.ndarray] | None:
    (forget, heldout, *_), shadows = findings.network, findings.shadows
    if shadows is None:
        return None
    confidence = np.concatenate([forget["confidence"], heldout["confidence"]])
    own, others = map(confidence_logit, (confidence, shadows.unlearned))
    ratios = likelihood_ratio(own, np.where(shadows.had, others, np.nan), np.where(shadows.had, np.nan, others))
    return np.split(ratios, [len(forget["confidence"])])


CONCLUSION = attack("lira_auc", "LiRA attack AUC", _scores)
