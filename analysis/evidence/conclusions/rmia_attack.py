"""RMIA: how likely a subject is under the network, relative to its likelihood under the average network."""

import numpy as np

from analysis.evidence.conclusion import Findings, attack
from analysis.statistics.membership import relative_likelihood


def _scores(findings: Findings) -> list[np.ndarray] | None:
    (forget, heldout, *_), shadows = findings.network, findings.shadows
    if shadows is None:
        return None
    loss = np.concatenate([forget["cross_entropy"], heldout["cross_entropy"]])
    ratios = relative_likelihood(np.exp(-loss), np.exp(-shadows.fitted["cross_entropy"]))
    return np.split(ratios, [len(forget["cross_entropy"])])


CONCLUSION = attack("rmia_auc", "RMIA attack AUC", _scores)
