import math

import pytest

from study.records.constraints import Constraint, ConstraintError, parse, violations
from study.records.metrics import METRICS


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("retain_dice>=0.75", Constraint("retain_dice", ">=", 0.75)),
        ("seconds<=600", Constraint("seconds", "<=", 600.0)),
        ("  forget_mae  <=  1e-2  ", Constraint("forget_mae", "<=", 0.01)),
        ("dice_gap>=-0.5", Constraint("dice_gap", ">=", -0.5)),
        ("unseen_gap<= .5", Constraint("unseen_gap", "<=", 0.5)),
        ("retention>=0", Constraint("retention", ">=", 0.0)),
    ],
)
def test_a_text_is_a_column_a_relation_and_a_bound(text, constraint):
    assert parse(text, METRICS) == parse(text) == constraint
    assert parse(str(constraint)) == constraint


def test_a_constraint_may_be_on_every_metric_and_on_seconds():
    for column in (*METRICS, "seconds"):
        assert parse(f"{column}>=1", METRICS).column == column


def test_any_name_is_one_where_the_metrics_are_not_known():
    assert parse("forget_hd95<=3").column == "forget_hd95"
    with pytest.raises(ConstraintError, match=r"expected the name of a metric, but got '0\.75'"):
        parse("0.75<=retain_dice")


# The text, what it says, and where: the part of the text that the marks lie under, at its column.
WRONG = [
    ("retain_dize>=0.75", "no metric 'retain_dize'; did you mean retain_dice?", 0, "retain_dize"),
    ("  second<=600", "no metric 'second'; did you mean seconds?", 2, "second"),
    ("beauty>=1", "no metric 'beauty'; there are retain_dice, forget_dice", 0, "beauty"),
    (">=1", "no metric ''; there are", 0, ">"),
    ("", "no metric ''", 0, ""),
    ("   ", "no metric ''", 3, ""),
    ("0.75<=retain_dice", "no metric '0.75'", 0, "0.75"),
    ("retain_dice>0.75", "expected >= or <=, but got '>'", 11, ">"),
    ("retain_dice == 0.75", "expected >= or <=, but got '=='", 12, "=="),
    ("retain_dice=>0.75", "expected >= or <=, but got '=>'", 11, "=>"),
    ("retain_dice", "expected >= or <=, but got ''", 11, ""),
    ("retain_dice 0.75", "expected >= or <=, but got ''", 12, "0"),
    ("retain_dice>=", "expected a finite number, but got ''", 13, ""),
    ("retain_dice>=high", "expected a finite number, but got 'high'", 13, "high"),
    ("retain_dice >= 0,75 ", "expected a finite number, but got '0,75'", 15, "0,75"),
    ("retain_dice>=0.5 and seconds<=6", "expected a finite number, but got '0.5 and", 13, "0.5 and seconds<=6"),
    ("seconds<=inf", "expected a finite number, but got 'inf'", 9, "inf"),
    ("seconds<=nan", "expected a finite number, but got 'nan'", 9, "nan"),
]


@pytest.mark.parametrize(("text", "reason", "column", "marked"), WRONG, ids=[text for text, *_ in WRONG])
def test_the_faulty_part_is_marked_below_it(text, reason, column, marked):
    with pytest.raises(ConstraintError) as caught:
        parse(text, METRICS)
    told, quoted, marks = str(caught.value).splitlines()
    assert told.startswith(reason)
    assert quoted == f"    {text}"
    assert len(marks) - len(marks.lstrip()) == 4 + column
    assert marks.strip() == "^" * max(1, len(marked))
    assert quoted[4 + column :].startswith(marked)


def test_a_text_of_two_lines_is_an_error_like_any_other():
    with pytest.raises(ConstraintError, match="expected a finite number"):
        parse("retain_dice>=0.75\n0.5")


@pytest.mark.parametrize(
    ("text", "value", "missed"),
    [
        ("retain_dice>=0.8", 0.6, 0.25),  # a quarter of the bound is lacking
        ("retain_dice>=0.8", 0.8, 0.0),
        ("retain_dice>=0.8", 1.0, -0.25),
        ("seconds<=600", 900, 0.5),
        ("seconds<=600", 300, -0.5),
        ("forget_dice<=0", 0.3, 0.3),  # nothing to be relative to
        ("dice_gap>=-0.5", -0.75, 0.5),
        ("dice_gap>=-0.5", -0.25, -0.5),
        ("retain_dice>=0.8", None, 1.0),
        ("retain_dice>=0.8", math.nan, 1.0),
        ("seconds<=600", math.nan, 1.0),
    ],
)
def test_a_violation_is_relative_to_the_bound_and_negative_where_it_is_kept(text, value, missed):
    constraint = parse(text)
    assert constraint.violation({constraint.column: value}) == pytest.approx(missed)
    assert constraint.violation({}) == 1.0
    assert violations([constraint], {constraint.column: value}, False) == {text: pytest.approx(missed)}


def test_every_constraint_has_its_violation_under_its_text_and_a_diverged_trial_misses_them_all():
    constraints = [parse("retention>=0.9"), parse("seconds<=100")]
    results = {"retention": 0.99, "seconds": 10.0}
    assert violations(constraints, results, diverged=False) == {
        "retention>=0.9": pytest.approx(-0.1),
        "seconds<=100": pytest.approx(-0.9),
    }
    assert violations(constraints, results, diverged=True) == {"retention>=0.9": 1.0, "seconds<=100": 1.0}
    assert violations([], results, diverged=True) == {}
