"""Membership inference: can the forget subjects be told from those that were never seen?

An attack gives every subject a score, larger for a member. The area under the curve (AUC) is the chance that a
forget subject's score exceeds a held-out subject's: 0.5 is indistinguishable, above it the network remembers, below
it forgetting itself gives the subjects away. So few subjects have no interval that holds what it promises (a
bootstrap's covers 0.66 at 2 v 2); they have an exact p.
"""

import math

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits


def comparisons(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N, M): 1 where a member's score exceeds another's, 1/2 where they are equal; the mean is the AUC."""
    difference = members[:, None] - others[None, :]
    return np.where(np.isfinite(difference), (np.sign(difference) + 1) / 2, np.nan)


def permutation_p(members: np.ndarray, others: np.ndarray) -> float:
    """Exact two-sided p of (N,) beside (M,) scores, without NaN: the share of choices whose AUC is as far off.

    This is the test of Wilcoxon, Mann and Whitney, with ties. NaN if a side is empty.
    """
    if not len(members) or not len(others):
        return math.nan
    ranks = np.rint(2 * stats.rankdata(np.concatenate([members, others]))).astype(int)  # twice: whole with ties too
    choices = np.zeros((len(members) + 1, ranks.sum() + 1))  # of so many subjects, by the sum of their ranks
    choices[0, 0] = 1
    for rank in ranks:
        choices[1:, rank:] += choices[:-1, :-rank]
    chances = choices[-1] / choices[-1].sum()
    found = ranks[: len(members)].sum()
    return float(min(1, 2 * min(chances[: found + 1].sum(), chances[found:].sum())))


def resolution(members: int, others: int) -> str:
    """What an AUC of so many forget and held-out subjects can tell at best, in words."""
    pairs, least = members * others, min(1, 2 / math.comb(members + others, members))
    values = [f"{count / max(pairs, 1):.2g}" for count in range(pairs + 1)]
    possible = ", ".join(values if pairs < 5 else [*values[:2], "...", "1"])
    return f"{members} v {others} subjects: only AUCs of {possible} are possible, and no p below {least:.2g}."


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


def relative_likelihood(target: np.ndarray, shadows: np.ndarray) -> np.ndarray:
    """RMIA: by how much likelier a subject is under the attacked network than under the average network.

    Its score is the share of a population apart that a subject outdoes in this by the factor gamma. That share rises
    with the ratio, whatever population and gamma: it ranks members and others as the ratio itself does, but for ties
    within a population's gaps. So the AUC is the ratio's, and nobody who could be compared is spent on a population.
    Source: Zarifzadeh et al. 2024, arXiv 2312.03262, equation 2; p(x) is the mean over all shadow networks.

    Args:
        target: (N,) likelihoods of the subjects under the attacked network, in (0, 1].
        shadows: (N, S) the same under shadow networks, half of which had the subject.
    """
    return target / np.nanmean(shadows, axis=1)


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
