"""Attacks against scikit-learn's AUC, closed forms, loops by hand, and simulated worlds whose answer is known."""

from itertools import combinations

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from analysis.statistics.membership import (
    comparisons,
    confidence_logit,
    likelihood_ratio,
    permutation_p,
    probe,
    relative_likelihood,
    resolution,
)


def sklearn_auc(members, others):
    truth = np.repeat([1, 0], [len(members), len(others)])
    return roc_auc_score(truth, np.concatenate([members, others]))


@pytest.mark.parametrize("decimals", [12, 0])  # without and with ties
@pytest.mark.parametrize("sizes", [(3, 4), (20, 35), (1, 1)])
def test_the_auc_is_scikit_learns(sizes, decimals):
    rng = np.random.default_rng(0)
    members, others = (rng.normal(mean, 1.5, size).round(decimals) for mean, size in zip((1, 0), sizes, strict=True))
    assert comparisons(members, others).mean() == pytest.approx(sklearn_auc(members, others))


def test_a_score_that_is_not_there_is_compared_with_none():
    found = comparisons(np.array([1.0, np.nan, 3.0]), np.array([2.0, np.nan]))
    np.testing.assert_array_equal(found, [[0, np.nan], [np.nan, np.nan], [1, np.nan]])


@pytest.mark.parametrize("decimals", [12, 0])  # without and with ties
@pytest.mark.parametrize("sizes", [(2, 2), (3, 4), (1, 3), (1, 1), (6, 5)])
def test_the_p_of_an_auc_is_exact(sizes, decimals):
    """Every choice of members among all: the share with at most, and at least, this AUC."""
    rng = np.random.default_rng(1)
    members, others = (rng.normal(mean, 1.5, size).round(decimals) for mean, size in zip((1, 0), sizes, strict=True))
    pooled, found, drawn = np.concatenate([members, others]), comparisons(members, others).mean(), []
    for chosen in combinations(range(len(pooled)), sizes[0]):
        drawn.append(comparisons(pooled[list(chosen)], np.delete(pooled, chosen)).mean())
    shares = np.mean(np.array(drawn) <= found + 1e-9), np.mean(np.array(drawn) >= found - 1e-9)
    assert permutation_p(members, others) == pytest.approx(min(1, 2 * min(shares)))


def test_the_p_of_many_subjects_is_mann_whitneys_and_that_of_nobody_undefined():
    members, others = np.random.default_rng(2).normal(size=(2, 40)) + np.array([[0.5], [0]])
    expected = stats.mannwhitneyu(members, others, method="exact").pvalue
    assert permutation_p(members, others) == pytest.approx(expected)
    assert np.isnan(permutation_p(members, members[:0]))


def test_what_an_auc_can_tell_is_said_in_words():
    assert resolution(2, 2) == "2 v 2 subjects: only AUCs of 0, 0.25, 0.5, 0.75, 1 are possible, and no p below 0.33."
    assert "only AUCs of 0, 0.083, ..., 1 are" in resolution(3, 4)
    assert "only AUCs of 0, 1 are possible, and no p below 1." in resolution(1, 1)
    assert permutation_p(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == pytest.approx(1 / 3)


def test_logits_of_confidences():
    values = np.array([0.01, 0.5, 0.9])
    np.testing.assert_allclose(confidence_logit(values), special.logit(values))
    assert np.isfinite(confidence_logit(np.array([0.0, 1.0]))).all()
    assert np.isnan(confidence_logit(np.array([np.nan])))


def world(remembered, subjects=400, shadows=64, seed=3):
    """Target, inside and outside logits where each subject has a difficulty of its own; half of it are members."""
    rng = np.random.default_rng(seed)
    difficulty, member = rng.normal(0, 3, subjects), np.arange(subjects) < subjects // 2
    had = rng.permuted(np.tile([True, False], (subjects, shadows // 2)), axis=1)
    drawn = difficulty[:, None] + 2.0 * had + rng.normal(0, 0.5, had.shape)
    target = difficulty + 2.0 * (member & remembered) + rng.normal(0, 0.5, subjects)
    return member, target, np.where(had, drawn, np.nan), np.where(had, np.nan, drawn)


def test_lira_finds_members_among_easy_and_hard_subjects_and_nothing_where_there_is_nothing():
    member, *given = world(remembered=True)
    ratios = likelihood_ratio(*given)
    assert sklearn_auc(ratios[member], ratios[~member]) > 0.99
    assert sklearn_auc(given[0][member], given[0][~member]) < 0.8  # without shadows difficulty hides them
    member, *given = world(remembered=False)
    ratios = likelihood_ratio(*given)
    assert sklearn_auc(ratios[member], ratios[~member]) == pytest.approx(0.5, abs=0.09)


def test_lira_is_the_ratio_of_two_normals_with_a_common_spread():
    target = np.array([0.4, -1.0])
    inside = np.array([[1.0, 2.0, np.nan, np.nan], [np.nan, np.nan, 0.0, 1.0]])
    outside = np.array([[np.nan, np.nan, -1.0, 0.5], [-2.0, -1.5, np.nan, np.nan]])
    spreads = [np.sqrt((2 * 0.5**2 + 2 * 0.5**2) / 2), np.sqrt((2 * 0.75**2 + 2 * 0.25**2) / 2)]
    means = [np.array([1.5, 0.5]), np.array([-0.25, -1.75])]
    logs = [stats.norm(mean, spread).logpdf(target) for mean, spread in zip(means, spreads, strict=True)]
    np.testing.assert_allclose(likelihood_ratio(target, inside, outside), logs[0] - logs[1])


def test_lira_needs_shadows_of_both_worlds():
    inside, outside = np.array([[1.0, np.nan], [np.nan, np.nan], [2.0, 3.0]]), np.array([[0.0], [0.0], [np.nan]])
    found = likelihood_ratio(np.zeros(3), inside, outside)
    np.testing.assert_array_equal(np.isnan(found), [False, True, True])
    assert np.isfinite(found[0])  # one shadow has no spread, but an answer


@pytest.mark.parametrize("gamma", [1, 2])
@pytest.mark.parametrize("size", [3, 4000])
def test_rmia_by_a_population_apart_ranks_as_the_relative_likelihood_does_but_for_ties(size, gamma):
    """RMIA's score is the share of the population that a subject outdoes in p(x | network) / p(x) by gamma."""
    rng = np.random.default_rng(4)
    target, shadows = rng.random(12), rng.random((12, 5))
    population = rng.random(size) / rng.random((size, 5)).mean(1)
    ratios = relative_likelihood(target, shadows)
    np.testing.assert_allclose(ratios, [p / row.mean() for p, row in zip(target, shadows, strict=True)])
    shares = np.array([np.mean([ratio >= gamma * other for other in population]) for ratio in ratios])
    by_share, by_ratio = (comparisons(scores[:6], scores[6:]) for scores in (shares, ratios))
    assert ((by_share == by_ratio) | (by_share == 0.5)).all()
    assert (by_share == 0.5).any() == (size == 3)  # a small population only makes ties


@pytest.mark.parametrize(("remembered", "low", "high"), [(True, 0.98, 1), (False, 0.41, 0.59)])
def test_rmia_finds_members_only_where_there_are_some(remembered, low, high):
    member, target, inside, outside = world(remembered)
    likelihood = special.expit(np.where(np.isnan(inside), outside, inside) - 9)  # far from 1, where ratios are even
    ratios = relative_likelihood(special.expit(target - 9), likelihood)
    assert low <= sklearn_auc(ratios[member], ratios[~member]) <= high


def test_the_probe_separates_what_is_separable():
    rng = np.random.default_rng(5)
    members, others = rng.normal(size=(6, 20)), rng.normal(size=(5, 20))
    members[:, 3] += 12
    compared = probe(members, others)
    assert compared.shape == (6, 5)
    assert (compared == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "features"), [((4, 4), 3), pytest.param((4, 6), 64, marks=pytest.mark.slow)])
def test_the_probe_is_unbiased_on_noise(sizes, features):
    rng = np.random.default_rng(6)
    found = [probe(*(rng.normal(size=(size, features)) for size in sizes)).mean() for _ in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=3 * np.std(found) / np.sqrt(60))
    assert np.std(found) / np.sqrt(60) < 0.05


def test_the_probe_needs_two_on_each_side():
    assert np.isnan(probe(np.zeros((1, 3)), np.ones((4, 3)))).all()
    assert probe(np.zeros((1, 3)), np.ones((4, 3))).shape == (1, 4)
