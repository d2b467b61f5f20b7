"""RMIA with gamma 1: what share of the held-out subjects a forget subject outdoes in relative likelihood."""

import numpy as np

from analysis.evidence.conclusion import Findings, attack
from analysis.statistics.membership import relative_likelihood


def _scores(findings: Findings) -> list[np.ndarray] | None:
    (forget, heldout, *_), shadows = findings.network, findings.shadows
    if shadows is None:
        return None
    loss = np.concatenate([forget["cross_entropy"], heldout["cross_entropy"]])
    return np.split(relative_likelihood(np.exp(-loss), shadows.likelihood), [len(forget["cross_entropy"])])


CONCLUSION = attack("rmia_auc", "RMIA attack AUC", _scores)
