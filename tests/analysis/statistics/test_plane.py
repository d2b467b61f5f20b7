import moocore
import numpy as np
import pytest

from analysis.figures.charts import attainment_figure
from analysis.statistics.plane import attainment, feasible_points, hypervolume, knee
from study.records.front import pareto_front

FIRST = np.array([[0.4, 0.9], [0.1, 0.5], [0.4, 0.6], [0.2, 0.45]])
SECOND = np.array([[0.2, 0.7], [0.2, 0.7]])
NOTHING = np.empty((0, 2))


@pytest.mark.parametrize("count", [1, 2, 5, 25])
@pytest.mark.parametrize("steps", [4, 1000])
def test_the_surfaces_are_those_of_moocore(count, steps):
    """Few steps make ties and duplicates; 7 of 25 is a share that floats miss."""
    rng = np.random.default_rng(count)
    for _ in range(8):
        fronts = [rng.integers(steps + 1, size=(rng.integers(1, 12), 2)) / steps for _ in range(count)]
        sets = np.repeat(np.arange(count), [len(front) for front in fronts])
        everything = moocore.eaf(np.concatenate(fronts) * (1, -1), sets)
        for reached in range(1, count + 1):
            corners = everything[np.isclose(everything[:, 2], 100 * reached / count)][:, :2] * (1, -1)
            found = attainment(fronts, reached / count)
            np.testing.assert_array_equal(found, corners[np.argsort(corners[:, 0])])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("fronts", "level", "corners"),
    [
        ([FIRST], 1, [[0.1, 0.5], [0.4, 0.9]]),
        ([FIRST, SECOND], 0.5, [[0.1, 0.5], [0.2, 0.7], [0.4, 0.9]]),
        ([FIRST, SECOND], 0.51, [[0.2, 0.5], [0.4, 0.7]]),
        ([FIRST, NOTHING, SECOND], 1 / 3, [[0.1, 0.5], [0.2, 0.7], [0.4, 0.9]]),
        ([FIRST, NOTHING, SECOND], 0.5, [[0.2, 0.5], [0.4, 0.7]]),
        ([FIRST, NOTHING, SECOND], 1, NOTHING),
        ([NOTHING, NOTHING], 0.5, NOTHING),
    ],
)
def test_a_share_is_of_all_studies_those_without_a_trial_too(fronts, level, corners):
    np.testing.assert_array_equal(attainment(fronts, level), corners)


def test_points_are_the_feasible_trials_with_both_metrics(study, trial):
    rows = [
        trial("infeasible", 0.9, 0.0),
        trial("a", 0.75, 0.25, feasible=True),
        trial("running", status="running"),
        trial("undefined", 0.76, float("nan"), feasible=True),
        trial("b", 0.74, 0.5, feasible=True),
    ]
    assert feasible_points(study(*rows)).tolist() == [[0.25, 0.75], [0.5, 0.74]]
    assert feasible_points(study()).shape == (0, 2)


def height(trace, forget):
    """Of a line that runs to the right, then up."""
    return max((y for x, y in zip(trace.x, trace.y, strict=True) if x <= forget), default=0)


def test_the_staircases_count_the_studies_below_them(study, trial):
    rng = np.random.default_rng(1)
    fronts = [rng.integers(1, 16, size=(6, 2)) / 16 for _ in range(5)]
    studies = [
        study(*(trial(str(i), retain, forget, feasible=True) for i, (forget, retain) in enumerate(front)))
        for front in fronts
    ]
    figure = attainment_figure(studies)
    assert "5 studies" in figure.layout.title.text
    traces = {trace.name: trace for trace in figure.data}
    assert {trace.line.shape for trace in traces.values()} == {"hv"}
    assert {trace.x[-1] for trace in traces.values()} == {1}
    for forget in np.arange(33) / 32:
        best = sorted((max((r for f, r in front if f <= forget), default=0) for front in fronts), reverse=True)
        for name, place in (("at least one", 0), ("half", 2), ("all", 4)):
            assert height(traces[name], forget) == best[place]


def test_what_too_few_studies_attain_is_left_empty(study, trial):
    none, one = study(), study(trial("a", 0.75, 0.25, feasible=True))
    lines = {trace.name: (trace.x, trace.y) for trace in attainment_figure([none, one]).data}
    assert lines == {"at least one": ((0.25, 1), (0.75, 0.75)), "half": ((0.25, 1), (0.75, 0.75)), "all": ((), ())}


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
