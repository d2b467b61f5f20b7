"""Places in drawn worlds whose answer is known: a network that never saw a person has any place with equal chance."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.places import places


def drawn(rng, forget, heldout, references, shadows, remembered):
    """Places in a study whose forget subjects are much harder, and whose shadows, of half the subjects, are worse."""
    subjects = forget + heldout
    difficulty = rng.normal(0, 3, subjects) - 4 * (np.arange(subjects) < forget)
    everyone, nobody = np.arange(subjects) < forget, np.zeros(subjects, bool)

    def network(had, level=0.0):
        return difficulty + rng.normal(level, 0.5) + 2 * had + rng.normal(0, 0.4, subjects)

    had = [everyone, *[nobody] * references]
    for _ in range(shadows // 2):
        half = np.concatenate([rng.permutation(size) < size // 2 for size in (forget, heldout)])
        had += [half, ~half]
    networks = [network(one, -2.0 * (number > references)) for number, one in enumerate(had)]
    own = network(everyone & remembered)
    return places(own, np.array(networks), np.array(had), forget)


SIZES = [(2, 2, 3, 0), (1, 1, 3, 4), (4, 6, 3, 4)]


@pytest.mark.parametrize("sizes", [(2, 2, 3, 8), *(pytest.param(sizes, marks=pytest.mark.slow) for sizes in SIZES)])
def test_places_of_a_network_that_never_saw_them_are_uniform_and_of_one_that_did_the_highest(sizes):
    rng = np.random.default_rng(0)
    never, saw = ([drawn(rng, *sizes, remembered)[0] for _ in range(200)] for remembered in (False, True))
    above, count = np.array([place.above_never_seen for place in never]).astype(int).T
    assert set(count) == {sizes[2] + sizes[3] // 2}
    assert stats.chisquare(np.bincount(above, minlength=count[0] + 1)).pvalue > 0.01
    assert np.mean([place.above_never_seen[0] == count[0] for place in saw]) > 0.95
    assert np.mean([place.above_seen[0] / place.above_seen[1] for place in never]) < 0.02
    assert np.mean([place.likelihood_ratio > 10 for place in never]) < 0.05
    assert np.mean([place.likelihood_ratio > 1 for place in saw]) > 0.9


def test_a_place_by_hand():
    """Of one forget and two held-out subjects; the last network had one of the latter."""
    own = np.array([5.0, 9.0, 11.0])
    networks = np.array([[7.0, 10.0, 12.0], [3.0, 8.0, 10.0], [9.0, 12.0, 14.0], [9.0, 0.0, 14.0]])
    had = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]], bool)
    (found,) = places(own, networks, had, 1)
    usual = np.array([10.0, 12.5])  # of those that never had them
    levels = np.array([(10 - 10 + 12 - 12.5) / 2, (8 - 10 + 10 - 12.5) / 2, (12 - 10 + 14 - 12.5) / 2, 14 - 12.5])
    alike = networks[:, 0] - levels + (own[1:] - usual).mean()
    never, seen = alike[:2], alike[2:]
    assert (found.value, found.never_seen, found.seen) == (5, tuple(sorted(never)), tuple(sorted(seen)))
    assert found.above_never_seen == ((never < 5).sum(), 2)
    assert found.above_seen == ((seen < 5).sum(), 2)
    spread = np.sqrt((never.var() + seen.var()) * 2 / 2)
    chances = [stats.t(2, group.mean(), spread * np.sqrt(1.5)).pdf(5.0) for group in (seen, never)]
    assert found.likelihood_ratio == pytest.approx(chances[0] / chances[1])


def test_what_cannot_be_placed_has_no_place():
    networks, had = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [False, True]])
    (found,) = places(np.array([2.0, 2.0]), networks, had, 1)  # the second had the only person held out
    assert (found.above_never_seen, found.above_seen) == ((0, 0), (1, 1))
    assert np.isnan([*found.never_seen, found.likelihood_ratio]).all()
    (alone,) = places(np.array([2.0]), networks[:, :1], had[:, :1], 1)  # nobody is held out
    assert (alone.above_never_seen, alone.above_seen) == ((0, 1), (1, 1))
    (unknown,) = places(np.array([np.nan]), networks[:, :1], had[:, :1], 1)
    assert np.isnan(unknown.above_never_seen[0])
