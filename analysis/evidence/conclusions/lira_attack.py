"""LiRA, for a trial U-LiRA: a subject's confidence beside that of shadow networks that had it and had not."""

import numpy as np

from analysis.evidence.conclusion import Findings, attack
from analysis.statistics.membership import confidence_logit, likelihood_ratio


def _scores(findings: Findings) -> list[np.ndarray] | None:
    (forget, heldout, *_), shadows = findings.network, findings.shadows
    if shadows is None:
        return None
    confidence = np.concatenate([forget["confidence"], heldout["confidence"]])
    ratios = likelihood_ratio(*map(confidence_logit, (confidence, shadows.inside, shadows.outside)))
    return np.split(ratios, [len(forget["confidence"])])


CONCLUSION = attack("lira_auc", "LiRA attack AUC", _scores)
