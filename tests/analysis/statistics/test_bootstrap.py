"""The hierarchical bootstrap against closed forms, counting, and its coverage of simulated truths."""

import numpy as np
import pytest

from analysis.statistics.intervals import Resampling, interval


def test_the_first_value_is_the_mean_and_the_bounds_are_the_normal_ones():
    values = np.random.default_rng(0).normal(3, 2, (1, 400))
    found = interval(Resampling().means(values, "seeds", "subjects"))
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_two_subjects_give_the_binomial_thirds():
    replicates = Resampling().means(np.array([[0.0, 1.0]]), "seeds", "subjects")
    assert replicates[0] == 0.5
    shares = [(replicates[1:] == value).mean() for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_seeds_are_drawn_like_subjects():
    values = np.random.default_rng(1).normal(size=(5, 7))
    rows, columns = (interval(Resampling().means(table, "a", "b")) for table in (values, values.T))
    assert columns == pytest.approx(rows, abs=0.03)
    only_seeds = Resampling().means(np.repeat([[0.0], [1.0]], 9, axis=1), "seeds", "subjects")
    assert set(np.unique(only_seeds)) == {0, 0.5, 1}


def test_intervals_cover_the_truth_of_two_levels():
    """Seeds and subjects both vary: intervals over subjects alone would cover 0 in about 83 % of the cohorts."""
    rng, covered = np.random.default_rng(2), []
    for cohort in range(400):
        seeds, subjects = rng.normal(size=(15, 1)), rng.normal(size=15)
        values = seeds + subjects + rng.normal(0, 0.5, (15, 15))
        found = interval(Resampling(cohort, replicates=400).means(values, "seeds", "subjects"))
        covered.append(found.low <= 0 <= found.high)
    assert 0.90 <= np.mean(covered) <= 0.985


def test_what_shares_an_axis_stays_paired_and_what_does_not_varies():
    draw, values = Resampling(), np.random.default_rng(3).normal(size=(3, 8))
    once, again = draw.means(values, "seeds", "retain"), draw.means(values + 0.25, "seeds", "retain")
    np.testing.assert_allclose(again - once, 0.25)
    other = draw.means(values, "seeds", "forget")
    assert other[0] == once[0]
    assert np.std(other - once) > 0.1
    wider = draw.means(np.hstack([values, values]), "seeds", "retain")  # another size is another draw
    assert wider[0] == pytest.approx(once[0])


def test_undefined_values_are_left_out():
    values = np.array([[1.0, np.nan, 4.0], [3.0, np.nan, np.nan]])
    replicates = Resampling().means(values, "seeds", "subjects")
    assert replicates[0] == pytest.approx(8 / 3)
    assert np.nanmin(replicates) == 1
    assert np.nanmax(replicates) == 4
    assert np.isnan(replicates).mean() == pytest.approx(1 / 27 + 1 / 4 * (8 - 1) / 27, abs=0.01)
    found = interval(replicates)
    assert 1 <= found.low < found.mean < found.high <= 4
    assert np.isnan(interval(Resampling().means(np.full((2, 2), np.nan), "seeds", "subjects"))).all()
