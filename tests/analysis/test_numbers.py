import math

import pytest

from analysis.numbers import MISSING, counted, evidence, interval, knob, metric, steps


@pytest.mark.parametrize(
    ("value", "text", "signed"),
    [
        (0.69634, "0.696", "+0.696"),
        (-0.25, "-0.250", "-0.250"),
        (0.0, "0.000", "+0.000"),
        (1, "1.000", "+1.000"),
        (None, MISSING, MISSING),
        (math.nan, MISSING, MISSING),
        (-math.inf, MISSING, MISSING),
    ],
)
def test_a_metric_has_three_decimals_or_is_a_dash(value, text, signed):
    assert metric(value) == text
    assert metric(value, signed=True) == signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (200_000, "200000"),
        ("cosine", "cosine"),
        (0.0, "0.000"),
        (0.8125, "0.812"),
        (0.01, "0.010"),
        (-0.5, "-0.500"),
        (0.00999, "1.0e-02"),
        (1.2e-4, "1.2e-04"),
        (-3e-5, "-3.0e-05"),
        (9999.0, "9999.000"),
        (12345.0, "1.2e+04"),
        (None, MISSING),
        (math.nan, MISSING),
    ],
)
def test_a_knob_is_short_and_keeps_its_size(value, text):
    assert knob(value) == text


def test_one_has_no_plural():
    assert [counted(number, "GPU") for number in (0, 1, 1 / 3)] == ["0 GPUs", "1 GPU", "0.333 GPUs"]
    assert counted(1000, "trial") == "1000 trials"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (7.0, "7"), (16.6, "17"), (math.inf, "never"), (None, MISSING), (math.nan, MISSING)],
)
def test_steps_are_whole_or_never(value, text):
    assert steps(value) == text


def test_a_metric_may_have_fewer_digits():
    assert metric(0.456, digits=2) == "0.46"
    assert metric(0.456, signed=True, digits=1) == "+0.5"


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((0.5, 0.25, 0.75), "0.500 [0.250, 0.750]"),
        ((0.5, math.nan, math.nan), "0.500 [unknown]"),
        ((0.5, None, None), "0.500 [unknown]"),
        ((2.0, 0.1, math.inf), f"2.000 [0.100, {MISSING}]"),
        ((math.nan, math.nan, math.nan), MISSING),
    ],
)
def test_an_interval_is_unknown_or_has_both_ends(bounds, text):
    assert interval(bounds) == text


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"a": 0.75, "a_p": 1 / 3}, "0.750 (p 0.333)"),
        ({"a": 0.75, "a_p": 1 / 3, "a_low": 0.5, "a_high": 1.0}, "0.750 (p 0.333)"),  # kept by a study of 0.1
        ({"a": 0.75, "a_low": 0.5, "a_high": 1.0}, "0.750 [0.500, 1.000]"),
        ({"a": 0.75}, "0.750"),
        ({}, MISSING),
    ],
)
def test_evidence_is_shown_with_its_p_or_its_interval(columns, text):
    assert evidence(columns, "a", "") == text
    assert evidence({"a": math.inf}, "a", "steps") == "never"
