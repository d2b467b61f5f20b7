import moocore
import numpy as np
import pytest

from analysis.statistics.hypervolume import hypervolume

SIDE = 16


def counted(retain, forget):
    """The share of a grid's cells that lie below the retain and above the forget Dice of some point on it."""
    low, high = np.arange(SIDE) / SIDE, np.arange(1, SIDE + 1) / SIDE
    covered = np.zeros((SIDE, SIDE), bool)
    for r, f in zip(retain, forget, strict=True):
        covered |= np.outer(high <= r, low >= f)
    return covered.mean()


def test_the_area_is_that_of_the_covered_cells():
    rng = np.random.default_rng(0)
    for size in [*range(1, 12), 60] * 4:
        retain, forget = rng.integers(SIDE + 1, size=(2, size)) / SIDE
        assert hypervolume(retain, forget) == pytest.approx(counted(retain, forget), abs=1e-12)


def test_what_is_undefined_counts_for_nothing_and_a_gap_of_one_is_everything():
    retain, forget = np.array([np.nan, 0.75, 0.5, 1.0]), np.array([0.0, 0.25, np.nan, np.inf])
    assert hypervolume(retain, forget) == pytest.approx(0.75 * 0.75)
    assert hypervolume(np.array([1.0]), np.array([0.0])) == 1
    assert hypervolume(np.array([]), np.array([])) == hypervolume(np.array([np.nan]), np.array([0.5])) == 0
    assert hypervolume(np.array([0.0, 0.9]), np.array([0.0, 1.0])) == 0


def test_the_area_is_that_of_moocore():
    """On sets with ties, duplicates and what is undefined."""
    rng = np.random.default_rng(0)
    for number in range(1000):
        levels = (3, 8, 1000)[number % 3]
        points = rng.integers(levels + 1, size=(rng.integers(1, 30), 2)) / levels
        points = np.concatenate([points, points[: number % 4]])
        points[rng.random(points.shape) < 0.05] = np.nan
        defined = points[~np.isnan(points).any(axis=1)]
        expected = moocore.hypervolume(defined, ref=[0, 1], maximise=[True, False]) if len(defined) else 0
        assert hypervolume(points[:, 0], points[:, 1]) == pytest.approx(expected, abs=1e-12)
