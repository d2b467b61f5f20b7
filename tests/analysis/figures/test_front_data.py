import math

import pytest

from analysis.figures.front_data import best_so_far
from analysis.figures.front_data import front_data as data_of_axes

NAN = math.nan


def front_data(study, colour="kind"):
    """In the plane of the study's front."""
    return data_of_axes(study, study.objective.forgetting, "retain_dice", colour)


def test_every_trial_is_a_dot_of_its_kind_or_counted(study, rows):
    data = front_data(study(*rows))
    assert [(dot.number, dot.id, dot.kind) for dot in data.dots] == [
        (1, "good", "on the front"),
        (2, "collapsed", "infeasible"),
        (4, "best", "on the front"),
        (5, "beaten", "other feasible"),
        (6, "burst", "diverged"),
        (8, "careful", "on the front"),
    ]
    assert data.missing == {"running": 1, "failed": 1}
    assert data.best is data.dots[2]
    assert data.best[3:6] == pytest.approx((0.09, 0.74, 0.65))  # forget, retain, gap


def test_a_trial_without_a_dice_is_counted(study, trial):
    rows = [trial("a", 0.7, NAN), trial("b", NAN, 0.2), trial("c", 0.7, 0.2, forget_dice=None)]
    data = front_data(study(*rows))
    assert data.dots == ()
    assert data.missing == {"finished": 3}


def test_the_hover_text_tells_metrics_and_knobs(study, trial):
    row = trial("0a1b", 0.75, 0.25, feasible=True, heldout_dice=0.625, mae_gap=0.091, retention=NAN)
    (dot,) = front_data(study(row)).dots
    assert dot.hover.split("<br>") == [
        "<b>trial 1: 0a1b</b>, noisy_label, other feasible",
        "gap 0.500",
        "retain Dice 0.750",
        "forget Dice 0.250",
        "held-out Dice 0.625",
        "retention –",  # noqa: RUF001
        "MAE gap 0.091",
        "noise rate 0.812",
        "lr 1.2e-04",
        "epochs 13",
        "resample yes",
    ]


def test_landmarks_are_what_is_known(study):
    data = front_data(study())
    assert [(mark.name, mark.x, mark.y) for mark in data.landmarks] == [
        ("baseline", 0.78, 0.8),
        ("retrained", 0.65, 0.79),
        ("published", 0.0613, 0.7576),
    ]
    published = data.landmarks[2]
    assert published.source in published.hover
    assert "Forget Dice 0.061" in published.hover
    some = study(references={"baseline": {"retain_dice": 0.8, "forget_dice": 0.7}}, published={})
    assert [mark.name for mark in front_data(some).landmarks] == ["baseline"]
    broken = study(references={"baseline": {"retain_dice": NAN, "forget_dice": 0.7}}, published={})
    assert front_data(broken).landmarks == ()


@pytest.mark.parametrize(
    ("references", "floor"),
    [
        ({"baseline": {"retain_dice": 0.5, "forget_dice": 0.4}}, 0.45),
        ({"baseline": {"retain_dice": NAN}}, NAN),
        ({}, NAN),
    ],
)
def test_the_floor_is_a_share_of_the_baseline(study, references, floor):
    assert front_data(study(references=references)).floor == pytest.approx(floor, nan_ok=True)


def test_the_window_frames_feasible_trials_landmarks_and_floor(study, rows, trial):
    low, high = front_data(study(*rows)).window
    assert 0.6 < low < 0.72 < 0.8 < high < 0.85
    assert front_data(study(rows[0] | {"retain_dice": 0.79}, published={})).window[0] < 0.72
    assert front_data(study(*rows, trial("worse", 0.0, 0.0))).window == (low, high)
    assert front_data(study(*rows, trial("higher", 0.95, 0.9, diverged=True))).window[1] > 0.95
    assert front_data(study(*rows, trial("deep", 0.4, 0.3, feasible=True))).window[0] < 0.4


@pytest.mark.parametrize("retain", [0.0, 0.5, 1.0])
def test_the_window_of_a_single_point_has_an_extent_and_stays_near_the_dice_range(study, trial, retain):
    low, high = front_data(study(trial("a", retain, 0.0), references={}, published={})).window
    assert -0.05 <= low < retain < high <= 1.05
    assert 0.04 < high - low < 0.2


def test_an_empty_study(study):
    data = front_data(study(references={}, published={}))
    assert (data.dots, data.missing, data.best, data.landmarks) == ((), {}, None, ())
    assert data.window[0] < 0 < 1 < data.window[1]


def test_the_best_so_far_rises_with_feasible_trials_only(study, trial):
    kinds = {"feasible": True}
    data = front_data(
        study(
            trial("infeasible", 0.5, 0.0),
            trial("first", 0.75, 0.5, **kinds),
            trial("undefined", 0.75, 0.25, dice_gap=NAN, **kinds),
            trial("equal", 0.75, 0.5, **kinds),
            trial("running", status="running"),
            trial("more", 0.75, 0.125, on_front=True, **kinds),
            trial("less", 0.75, 0.375, **kinds),
        )
    )
    assert best_so_far(data.dots, 1) == ([2, 6], [0.25, 0.625])
    assert best_so_far((), 1) == ([], [])


def test_a_negative_gap_is_a_best_too(study, trial):
    assert best_so_far(front_data(study(trial("a", 0.75, 1.0, feasible=True))).dots, 1) == ([1], [-0.25])


REFERENCES = {
    "baseline": {"retain_dice": 0.8, "forget_dice": 0.75, "heldout_dice": 0.5},
    "retrained": {"retain_dice": 0.79, "forget_dice": 0.5, "heldout_dice": 0.625},
    "retrained-1": {"retain_dice": 0.78, "forget_dice": 0.625, "heldout_dice": 0.625},
}


@pytest.fixture
def distances(study, trial):
    """A study for an objective, with trials whose distances are their own."""

    def write(objective):
        marks = {"feasible": True, "on_front": True}
        rows = [
            trial("near", 0.75, 0.25, retrain_gap=0.125, unseen_gap=0.5, **marks),
            trial("unseen", 0.74, 0.25, retrain_gap=0.375, unseen_gap=0.0625, **marks),
            trial("undefined", 0.77, 0.0, retrain_gap=NAN, unseen_gap=NAN, **marks),
            trial("nearest", 0.73, 0.5, retrain_gap=0.0625, unseen_gap=0.25, **marks),
        ]
        settings = {"retain_floor": 0.9, "objective": objective}
        return study(*rows, settings=settings, references=REFERENCES)

    return write


@pytest.mark.parametrize(
    ("objective", "points", "best", "landmarks"),
    [
        ("retrain", [0.125, 0.375, 0.0625], "nearest", [0.25, 0.0, 0.125]),  # |forget - 0.5|
        ("unseen", [0.5, 0.0625, 0.25], "unseen", [0.25, 0.125, 0.0]),  # |forget - held-out|
    ],
)
def test_a_distance_is_the_axis_and_the_value(distances, objective, points, best, landmarks):
    data = front_data(distances(objective))
    assert [(dot.id, dot.x, dot.value) for dot in data.dots] == [
        (name, point, point) for name, point in zip(("near", "unseen", "nearest"), points, strict=True)
    ]
    assert data.missing == {"finished": 1}
    assert data.best.id == best
    assert [(mark.name, mark.x) for mark in data.landmarks] == list(zip(REFERENCES, landmarks, strict=True))


def test_the_best_distance_so_far_falls(distances):
    assert best_so_far(front_data(distances("retrain")).dots, -1) == ([1, 4], [0.125, 0.0625])
    assert best_so_far(front_data(distances("unseen")).dots, -1) == ([1, 2], [0.5, 0.0625])


def test_the_hover_text_leaves_out_the_knobs_that_a_trial_does_not_have(study, trial):
    row = trial("a", 0.75, 0.25, noise_rate=None, resample=None, strategy="max_loss")
    lines = front_data(study(row)).dots[0].hover.split("<br>")
    assert lines[0].startswith("<b>trial 1: a</b>, max_loss")
    assert lines[7:] == ["lr 1.2e-04", "epochs 13"]
