"""The derived figures of an epoch."""

import math

import pytest

from trainables.gaps import GAPS, gaps

EPOCH = {"retain_dice": 0.8, "forget_dice": 0.1, "heldout_dice": 0.65, "retain_mae": 0.05, "forget_mae": 0.3}
EPOCH["forget_dice_views"] = 0.35
BASELINE = {"retain_dice": 0.9, "heldout_dice": 0.7, "forget_dice": 0.8, "forget_dice_views": 0.85, "forget_mae": 0.1}
RETRAINED = {"forget_dice": 0.6, "forget_dice_views": 0.65, "forget_mae": 0.2}


def test_gaps_in_closed_form():
    expected = {"dice_gap": 0.7, "mae_gap": 0.25, "retention": 0.8 / 0.9, "retrain_gap": 0.5, "unseen_gap": 0.55}
    expected |= {"robust_gap": 0.45, "heldout_retention": 0.65 / 0.7}
    residual = (-0.5 / 0.2 - 0.3 / 0.2 - 0.1 / 0.1) / 3
    expected |= {"residual_memory": residual, "residual_distance": -residual, "residual_gap": 0.8 + residual}
    assert gaps(EPOCH, BASELINE, RETRAINED) == pytest.approx(expected)


def test_over_and_under_forgetting_are_both_a_gap_to_the_references():
    remembering = gaps({**EPOCH, "forget_dice": 0.9}, BASELINE, RETRAINED)
    assert (remembering["retrain_gap"], remembering["unseen_gap"]) == pytest.approx((0.3, 0.25))
    assert remembering["dice_gap"] == pytest.approx(-0.1)


def test_steering_subjects_stand_for_the_held_out_ones():
    assert gaps({**EPOCH, "steering_dice": 0.4}, BASELINE, RETRAINED)["unseen_gap"] == pytest.approx(0.3)


def test_gaps_that_are_undefined():
    assert math.isnan(gaps(EPOCH, {**BASELINE, "retain_dice": 0.0}, RETRAINED)["retention"])
    assert math.isnan(gaps(EPOCH, {**BASELINE, "heldout_dice": 0.0}, RETRAINED)["heldout_retention"])
    lost = gaps({**EPOCH, "forget_dice": math.nan}, BASELINE, RETRAINED)
    assert {name for name, value in lost.items() if math.isnan(value)} == {
        *("dice_gap", "retrain_gap", "unseen_gap"),
        *("residual_memory", "residual_distance", "residual_gap"),
    }


@pytest.mark.parametrize("name", GAPS)
def test_a_gap_lies_in_its_range(name):
    gap, dice = GAPS[name], (0.0, 0.3, 1.0)
    for retain in dice:
        for forget in dice:
            epoch = {"retain_dice": retain, "forget_dice": forget, "heldout_dice": 0.2}
            epoch |= {"retain_mae": 1 - retain, "forget_mae": 1 - forget, "forget_dice_views": forget}
            value = gap.function(epoch, BASELINE, RETRAINED)
            low, high = (-math.inf if gap.low is None else gap.low), (math.inf if gap.high is None else gap.high)
            assert low <= value <= high
