"""Membership inference: can the forget subjects be told from those that were never seen?

An attack gives every subject a score, larger for a member. The area under the curve (AUC) is the chance that a
forget subject's score exceeds a held-out subject's: 0.5 is indistinguishable, above it the network remembers, below
it forgetting itself gives the subjects away.
"""

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from analysis.statistics.intervals import Interval, Resampling, interval

FEW = 10
"""Subjects a side below which an AUC says next to nothing."""


def comparisons(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, M): 1 where a member's score exceeds another's, 1/2 where they are equal; the mean is the AUC."""
    difference = members[:, None] - others[None, :]
    return np.where(np.isfinite(difference), (np.sign(difference) + 1) / 2, np.nan)


def auc(compared: np.ndarray) -> Interval:
    """The AUC of (N, M) comparisons with its 95 % bootstrap interval over the subjects of both groups."""
    return interval(Resampling().means(compared, "members", "others"))


def pooled_auc(compared: list[np.ndarray]) -> Interval:
    """The AUC over several draws of forget subjects, each with its (N, M) comparisons under its own network.

    Draws and subjects are resampled.
    """
    draws = np.stack([table.mean(1) for table in compared])  # (draws, N)
    return interval(Resampling().means(draws, "draws", "members"))


def confidence_logit(confidence: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), which makes confidences about normal (Carlini et al. 2022, arXiv 2112.03570, section 5)."""
    bounded = np.clip(confidence, 1e-6, 1 - 1e-6)
    return np.log(bounded / (1 - bounded))


def likelihood_ratio(target: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """The online attack LiRA: log N(t; members) - log N(t; non-members), one normal a subject and world.

    U-LiRA (Hayes et al. 2024, arXiv 2403.01218) where the networks that had a subject have unlearned it since. As few
    shadow networks cannot give a variance per subject, all subjects share it (arXiv 2112.03570, section 6.C).

    Args:
        target: (N,) confidence logits of the attacked network.
        inside: (N, S) those of shadow networks that had the subject; NaN where one had not.
        outside: (N, S) those of shadow networks that had not; NaN where one had.

    Returns:
        (N,); NaN without a shadow network on both sides.
    """
    return _log_density(target, inside) - _log_density(target, outside)


def relative_membership(
    target: np.ndarray, shadows: np.ndarray, population: np.ndarray, gamma: float = 1.0
) -> np.ndarray:
    """RMIA: the share of the population to which a subject is likelier to belong to the training data.

    Source: Zarifzadeh et al. 2024, arXiv 2312.03262, equation 2; p(x) is the mean over all shadow networks.

    Args:
        target: (N,) likelihoods of the subjects under the attacked network, in (0, 1].
        shadows: (N, S) the same under shadow networks, half of which had the subject.
        population: indices of the subjects to compare with, none of them members; none is compared with itself.
        gamma: by how much likelier, at least 1.
    """
    ratios = target / np.nanmean(shadows, axis=1)
    shares = []
    for subject, ratio in enumerate(ratios):
        others = [other for other in population if other != subject]
        shares.append(np.mean(ratio / ratios[others] >= gamma) if others else np.nan)
    return np.array(shares)


def probe(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """A linear probe's comparisons (N, M) of (N, E) with (M, E) features: logistic regression.

    It is fitted without the pair that it then compares: else the AUC of small groups is biased (Airola et al. 2009).
    """
    compared = np.full((len(members), len(others)), np.nan)
    if min(len(members), len(others)) < 2:
        return compared
    truth = np.arange(len(members) + len(others) - 2) < len(members) - 1
    with threadpool_limits(1):  # beside trials, threads that wait for each other cost more than they do
        for i, j in np.ndindex(compared.shape):
            rest = np.concatenate([np.delete(members, i, 0), np.delete(others, j, 0)])
            model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rest, truth)
            member, other_score = model.decision_function(np.stack([members[i], others[j]]))
            compared[i, j] = (np.sign(member - other_score) + 1) / 2
    return compared


def _log_density(target: np.ndarray, samples: np.ndarray) -> np.ndarray:
    counts = np.isfinite(samples).sum(1)
    means = np.divide(np.nansum(samples, 1), counts, out=np.full(len(target), np.nan), where=counts > 0)
    freedom = max((counts - 1).clip(0).sum(), 1)
    deviation = max(np.sqrt(np.nansum((samples - means[:, None]) ** 2) / freedom), 1e-3)
    return stats.norm.logpdf(target, means, deviation)
