import numpy as np
import pytest

from analysis.statistics.knee import knee
from study.records.front import pareto_front

PLACES = np.linspace(0, 1, 21)
ANGLES = PLACES * np.pi / 2


@pytest.mark.parametrize(
    ("scores", "place"),
    [
        (np.stack([np.sin(ANGLES), np.cos(ANGLES)], 1), 10),  # sin + cos is largest at 45 degrees
        (np.stack([PLACES, 1 - PLACES**2], 1), 10),  # x - x^2 at 1/2
        (np.stack([PLACES, 1 - PLACES**4], 1), 13),  # x - x^4 at (1/4)^(1/3) = 0.63
        (np.stack([PLACES, np.sqrt(1 - PLACES)], 1), 15),  # x + sqrt(1 - x) at 3/4
        (np.stack([PLACES, 1 - PLACES], 1), None),
        (np.stack([1 - np.cos(ANGLES), 1 - np.sin(ANGLES)], 1), None),
    ],
    ids=["circle", "parabola", "quartic", "root", "linear", "concave"],
)
def test_the_knee_of_a_curve_is_where_its_slope_is_that_of_the_line_between_its_ends(scores, place):
    assert knee(scores) == place
    scaled = scores * (0.002, 30) + (0.7, -60)
    assert knee(scaled) == place
    assert knee(scaled[:, ::-1]) == place
    assert knee(scores[::-1]) == (None if place is None else 20 - place)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "scores",
    [
        np.empty((0, 2)),
        [[0.7, -0.1]],
        [[0.7, -0.1], [0.8, -0.3]],
        [[0.7, -0.1]] * 4,
        [[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]],
        [[0.7, -0.1], [0.8, -0.1], [0.9, -0.1]],
    ],
    ids=["none", "one", "two", "one four times", "the ends twice", "one goal alone varies"],
)
def test_a_front_that_does_not_bend_has_none(scores):
    assert knee(np.array(scores)) is None


def test_of_duplicates_the_first_counts():
    assert knee(np.array([[1, 0], [0.6, 0.6], [0.7, 0.7], [0.7, 0.7], [0, 1], [0, 1]])) == 2


def test_the_knee_of_a_random_front_is_the_point_farthest_from_the_line():
    rng, bent = np.random.default_rng(0), 0
    for _ in range(200):
        scores = rng.random((rng.integers(5, 80), 2)) ** rng.choice([0.3, 1, 3]) * (0.1, 0.9)
        front = scores[pareto_front(scores)]
        left, right = front[np.argmin(front[:, 0])], front[np.argmin(front[:, 1])]
        if len(front) < 3:
            assert knee(front) is None
            continue
        span = right - left
        # twice the area of the triangle with the ends; scaling both axes scales all areas alike
        areas = (front - left) @ np.array([-span[1], span[0]])
        expected = int(np.argmax(areas)) if areas.max() > 1e-12 else None
        assert knee(front) == expected
        bent += expected is not None
    assert 50 < bent < 200
