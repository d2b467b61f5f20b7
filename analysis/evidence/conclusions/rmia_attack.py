"""RMIA with gamma 1: how many held-out subjects a subject outdoes in likelihood, relative to shadow networks."""

import numpy as np

from analysis.evidence.conclusion import Findings, attack
from analysis.statistics.intervals import Interval
from analysis.statistics.membership import auc, comparisons, relative_membership


def _auc(findings: Findings) -> Interval | None:
    (forget, heldout, _), shadows = findings.network, findings.shadows
    if shadows is None:
        return None
    loss = np.concatenate([forget["cross_entropy"], heldout["cross_entropy"]])
    members = len(forget["cross_entropy"])
    shares = relative_membership(np.exp(-loss), shadows.likelihood, np.arange(members, len(loss)))
    return auc(comparisons(shares[:members], shares[members:]))


CONCLUSION = attack("rmia_auc", "RMIA attack AUC", _auc)
