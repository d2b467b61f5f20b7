"""Intervals against Student's, closed forms and other libraries, and how often they hold simulated truths."""

import numpy as np
import pytest
from scipy import special, stats

from analysis.statistics.intervals import Jackknife


def interval_of(values, **ends):
    seeds, subjects = values.shape
    jackknife = Jackknife({"seeds": seeds}, {"subjects": subjects})
    return jackknife.interval(jackknife.means(values, "seeds", "subjects"), **ends)


def test_one_network_has_students_interval_over_its_subjects():
    values = np.random.default_rng(0).normal(3, 2, (1, 7))
    expected = stats.ttest_1samp(values[0], 0).confidence_interval()
    assert interval_of(values) == pytest.approx((values.mean(), *expected))


def test_networks_and_subjects_both_count_each_with_its_own_degrees_of_freedom():
    values = np.random.default_rng(1).normal(size=(3, 5))
    parts = [(values.mean(axis), stats.t.ppf(0.975, values.shape[1 - axis] - 1)) for axis in (0, 1)]
    half = np.sqrt(sum((t * stats.sem(means)) ** 2 for means, t in parts))
    assert interval_of(values) == pytest.approx((values.mean(), values.mean() - half, values.mean() + half))
    assert interval_of(values.T) == pytest.approx(interval_of(values))


def test_a_single_subject_leaves_the_interval_unknown_and_a_single_network_does_not():
    values = np.random.default_rng(2).normal(size=(3, 1))
    assert np.isnan(interval_of(values)[1:]).all()
    assert np.isfinite(interval_of(values.T)).all()
    jackknife = Jackknife({"seeds": 3}, {"retain": 4, "forget": 1})
    table = np.random.default_rng(3).normal(size=(3, 4))
    assert np.isfinite(
        jackknife.interval(jackknife.means(table, "seeds", "retain"))
    ).all()  # the other set is not in it


def test_what_shares_subjects_stays_paired_and_what_does_not_varies():
    table, baseline = np.random.default_rng(4).uniform(0.5, 0.9, (2, 1, 6))
    jackknife = Jackknife({"seeds": 1, "baseline": 1}, {"retain": 6, "forget": 6})
    mine, same = (jackknife.means(table, "seeds", "retain") for _ in range(2))
    np.testing.assert_allclose(jackknife.interval(mine / same), 1)
    ratio = jackknife.interval(mine / jackknife.means(baseline, "baseline", "retain"))
    influence = (table - table.mean() / baseline.mean() * baseline)[0] / baseline.mean()  # the delta method
    half = stats.t.ppf(0.975, 5) * stats.sem(influence)
    assert (ratio.high - ratio.low) / 2 == pytest.approx(half, rel=0.05)
    gap = jackknife.interval(mine - jackknife.means(baseline, "seeds", "forget"))
    error = np.hypot(stats.sem(table[0]), stats.sem(baseline[0]))
    assert gap.high - gap.mean == pytest.approx(stats.t.ppf(0.975, 5) * error)


def test_an_interval_keeps_to_the_range_and_reaches_away_from_its_ends():
    values = np.array([[0.02, 0.01, 0.0, 0.3]])
    free, share, positive = interval_of(values), interval_of(values, low=0, high=1), interval_of(values, low=0)
    assert free.low < 0 < share.low < share.mean < share.high < 1
    half = (free.high - free.mean) / (free.mean * (1 - free.mean))
    assert share[1:] == pytest.approx(special.expit(special.logit(free.mean) + np.array([-half, half])))
    assert positive.high * positive.low == pytest.approx(positive.mean**2)
    wider = interval_of(2 * values - 1, low=-1, high=1)
    assert wider == pytest.approx([2 * end - 1 for end in share])
    assert interval_of(np.zeros((2, 3)), low=0, high=1) == (0, 0, 0)


def test_undefined_values_are_left_out():
    values = np.array([[1.0, np.nan, 4.0, 2.0], [3.0, np.nan, np.nan, 2.5]])
    found = interval_of(values)
    assert found.mean == pytest.approx(np.nanmean(values))
    assert found.low < found.mean < found.high
    assert interval_of(np.delete(values, 1, 1)) == pytest.approx(found)
    assert np.isnan(interval_of(np.full((2, 2), np.nan))).all()


def normal(seeds, subjects, noise):
    return 0.6 + 0.05 * seeds + 0.1 * subjects + 0.05 * noise


def skewed(seeds, subjects, noise):
    """As retain Dice: mean 0.86, standard deviation 0.08, skewness -1.4."""
    return special.expit(2 + 0.15 * seeds + 0.7 * subjects + 0.15 * noise)


def forgotten(seeds, subjects, noise):
    """As forget Dice of most strategies: mean 0.05, standard deviation 0.05, skewness 3."""
    return special.expit(-3.5 + 0.5 * seeds + subjects + 0.5 * noise)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("subjects", [2, 3, 8])
@pytest.mark.parametrize(("values", "least"), [(normal, 0.93), (skewed, 0.93), (forgotten, 0.89)])
def test_intervals_hold_the_truth(values, least, subjects, seeds):
    rng, held = np.random.default_rng(seeds), []
    truth = values(rng.normal(size=200_000) * (seeds > 1), *rng.normal(size=(2, 200_000))).mean()
    for _ in range(600):
        network = rng.normal(size=(seeds, 1)) * (seeds > 1)  # of one network the interval is about that network
        found = interval_of(
            values(network, rng.normal(size=subjects), rng.normal(size=(seeds, subjects))), low=0, high=1
        )
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) >= least - 2 * np.sqrt(least * (1 - least) / len(held))


def test_intervals_of_a_gap_hold_the_truth():
    rng, held = np.random.default_rng(5), []
    truth = skewed(*rng.normal(size=(3, 200_000))).mean() - forgotten(*rng.normal(size=(3, 200_000))).mean()
    jackknife = Jackknife({"seeds": 3}, {"retain": 8, "forget": 3})
    for _ in range(600):
        networks, (kept, gone) = rng.normal(size=(3, 1)), (rng.normal(size=count) for count in (8, 3))
        means = jackknife.means(skewed(networks, kept, rng.normal(size=(3, 8))), "seeds", "retain")
        means -= jackknife.means(forgotten(-networks, gone, rng.normal(size=(3, 3))), "seeds", "forget")
        found = jackknife.interval(means, -1, 1)
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) > 0.94
