import moocore
import numpy as np
import pytest

from analysis.figures.attainment import attainment_figure
from analysis.statistics.attainment import attainment, feasible_points

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
