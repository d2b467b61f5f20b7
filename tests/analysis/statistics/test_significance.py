"""Tests and intervals against full enumeration, other libraries, a loop by hand, and simulation."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.significance import (
    equivalence,
    holm,
    reach,
    sign_flip,
    smallest_p,
)


def enumerated_flips(differences):
    found = abs(np.sum(differences))
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return np.mean([value >= found - 1e-12 for value in sums])


@pytest.mark.parametrize(
    "differences",
    [
        np.random.default_rng(0).normal(0.5, 1, 9),
        np.random.default_rng(1).normal(0, 1, 8),
        np.array([0.1, 0.1, 0.1, -0.1, 0.2]),  # ties
        np.array([0.3, 0.0, 0.0, 0.2]),
        np.array([0.5, 0.4, 0.6]),  # 1/4, the least that three can give
        np.array([-0.5, -0.4, -0.6]),
        np.zeros(4),
        np.array([0.7]),  # one says nothing
    ],
)
def test_sign_flips_are_exact(differences):
    assert sign_flip(differences) == pytest.approx(enumerated_flips(differences))


def test_many_sign_flips_are_sampled_closely():
    differences = np.random.default_rng(2).normal(0.4, 1, 18)
    signs = 1 - 2 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1)
    expected = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    assert 0.01 < expected < 0.5
    assert sign_flip(differences) == pytest.approx(expected, abs=0.006)


def holm_by_hand(p_values):
    adjusted, least = {}, 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return [adjusted[place] for place in range(len(p_values))]


@pytest.mark.parametrize(
    "p_values",
    [
        [0.01, 0.04, 0.03, 0.005],
        [0.5, 0.6, 0.9],
        [0.02],
        [0.04, 0.04, 0.01],
        [],
        np.random.default_rng(3).random(40) ** 3,
    ],
)
def test_holms_correction_as_by_hand(p_values):
    np.testing.assert_allclose(holm(p_values), holm_by_hand(p_values))


@pytest.mark.parametrize("units", [1, 2, 3, 6])
def test_the_smallest_p_is_that_of_differences_of_one_sign(units):
    assert smallest_p(units) == pytest.approx(sign_flip(np.arange(1.0, units + 1)))


def test_what_tests_can_reach_is_said_in_words():
    assert reach(3, 1) == "3 runs: p cannot fall below 0.25, so no test between recipes can reach 0.05."
    assert reach(1, 3) == "Of one run nothing can be tested."
    assert reach(6, 1) == "6 runs: p cannot fall below 0.031."
    assert "for 10 pairs below 0.31, so no test" in reach(6, 10)
    assert "for 10 pairs below 0.02." in reach(10, 10)


def student_6(t):
    """The cumulative distribution of Student's t with 6 degrees of freedom, in closed form."""
    share = 6 / (6 + t**2)
    return 0.5 + t / (2 * math.sqrt(6 + t**2)) * (1 + share / 2 + 3 * share**2 / 8)


@pytest.mark.parametrize(("mean", "margin"), [(0.0, 0.02), (0.01, 0.02), (0.03, 0.02), (-0.05, 0.1)])
def test_equivalence_to_references_that_are_all_alike_is_two_one_sided_t_tests(mean, margin):
    differences, alike = np.random.default_rng(4).normal(mean, 0.01, 7), np.full((3, 7), 0.5)
    error = differences.std(ddof=1) / math.sqrt(7)
    below, above = ((differences.mean() - bound) / error for bound in (margin, -margin))
    expected = max(student_6(below), 1 - student_6(above))
    assert equivalence(0.5 + differences, alike, margin) == pytest.approx(expected)
    assert equivalence(0.5 - differences, alike, margin) == pytest.approx(expected)
    assert (expected < 0.05) == (abs(mean) < margin)


def test_equivalence_on_subjects_that_are_all_alike_is_a_t_test_of_the_references_mean():
    references = np.array([0.70, 0.71, 0.72, 0.69])
    found = equivalence(np.full(3, 0.7), np.repeat(references[:, None], 3, axis=1))
    assert found == pytest.approx(stats.ttest_1samp(references, 0.72, alternative="less").pvalue)


def test_equivalence_without_spread_or_with_too_few():
    alike = np.full((2, 3), 0.5)
    assert equivalence(np.full(3, 0.51), alike) == 0
    assert equivalence(np.full(3, 0.47), alike) == 1
    for few in ((np.zeros(1), np.zeros((3, 1))), (np.zeros(3), np.zeros((1, 3))), (np.zeros(3), np.zeros(0))):
        assert np.isnan(equivalence(*few))
    assert np.isnan(equivalence(np.full(3, np.nan), np.random.default_rng(0).random((3, 3))))


@pytest.mark.parametrize("references", [2, 3, 5])
@pytest.mark.parametrize("subjects", [2, 3, 8])
def test_a_network_that_is_a_margin_off_seldom_reads_as_equivalent(references, subjects):
    """Whichever varies more, retrained networks or a subject between them: 5 % of 500, and two standard errors."""
    rng = np.random.default_rng(references)
    for networks, noise in ((0.004, 0.0005), (0.0005, 0.004), (0.004, 0.004)):
        passed = 0
        for _ in range(500):
            people = rng.normal(0.7, 0.05, subjects)
            retrained = (
                people + rng.normal(0, networks, (references, 1)) + rng.normal(0, noise, (references, subjects))
            )
            passed += equivalence(people + 0.02 + rng.normal(0, noise, subjects), retrained) < 0.05
        assert passed / 500 < 0.07
