"""What a trial costs beside the steering reference, whose course is written by hand."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from analysis.statistics.price import price

COURSE = pd.DataFrame(
    {
        "id": ["retrained"] * 4 + ["t"],
        "epoch": [1, 5, 6, 10, 1],
        "seconds": [1.0, 4.0, 1.0, 4.0, 99.0],
        "retain_dice": [math.nan, 0.7, math.nan, 0.85, 0.9],
        "heldout_dice": [math.nan, 0.72, math.nan, 0.8, 0.9],
    }
)


def priced(retain, heldout, seconds, course=COURSE, strangers=("h",)):
    study = SimpleNamespace(history=course, split=SimpleNamespace(heldout=strangers))
    metrics = {"retain_dice": retain, "heldout_dice": heldout}
    return price(study, SimpleNamespace(seconds=seconds, metric=metrics.get))


@pytest.mark.parametrize(
    ("retain", "heldout", "expected", "said"),
    [
        (0.7, 0.5, (5.0, 5), "Costs 0.40 of retraining to the same Dice (5 epochs, 5 s)."),
        (0.705, 0.72, (5.0, 5), "Costs 0.40"),  # within a hundredth
        (0.7, 0.75, (10.0, 10), "Costs 0.20"),  # strangers count too
        (0.9, 0.7, (10.0, None), "Retraining was not as good in its 10 s; this took 2 s."),
    ],
)
def test_retraining_is_looked_at_until_it_is_as_good(retain, heldout, expected, said):
    found = priced(retain, heldout, 2.0)
    assert (found.retraining, found.epochs) == expected
    assert said in str(found)


def test_where_retraining_is_cheaper_it_is_recommended():
    assert str(priced(0.7, 0.5, 6.0)) == "Retrain: as good in 5 epochs (5 s against 6 s), and exact."


def test_without_held_out_subjects_or_a_course_there_is_nothing_to_compare():
    assert priced(0.7, math.nan, 2.0, strangers=()).epochs == 5
    assert priced(0.7, 0.5, 2.0, COURSE[COURSE["id"] == "t"]) is None
