"""Which rows of single subjects count, and the metrics of one trial with their intervals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from analysis.statistics.intervals import Interval, metric_intervals, values_after, with_bounds


@pytest.mark.parametrize(
    ("ids", "horizon", "expected"),
    [
        (["n0"], 4, {("n0", 4)}),
        (["n0"], 3, {("n0", 2)}),
        (["n0", "m1"], 50, {("n0", 4), ("m1", 3)}),
        (["n0", "m1"], 1, set()),
        (["nobody"], 4, set()),
        ([], 4, set()),
    ],
)
def test_the_last_epoch_within_the_horizon_counts_for_each_trial(suite_study, ids, horizon, expected):
    chosen = values_after(suite_study(), ids, horizon)
    assert set(zip(chosen["id"], chosen["epoch"], strict=True)) == expected
    assert len(chosen) == 7 * len(expected)


def test_one_trial_varies_over_its_subjects_alone(suite_study, values):
    study = suite_study()
    found = metric_intervals(study, values_after(study, ["n0"], 4))
    retain = [values["n0", 4, subject][0] for subject in ("r1", "r2", "r3")]
    half = stats.t.ppf(0.975, 2) * stats.sem(retain) / (np.mean(retain) * (1 - np.mean(retain)))
    ends = special.expit(special.logit(np.mean(retain)) + np.array([-half, half]))
    assert found["retain_dice"] == pytest.approx((np.mean(retain), *ends))
    baseline = np.mean([values["baseline", 60, subject][0] for subject in ("r1", "r2", "r3")])
    assert found["retention"].mean == pytest.approx(found["retain_dice"].mean / baseline)


def test_the_retrain_gap_is_paired_by_subject_and_never_negative(suite_study, values):
    """A trial that does to each forget subject what the references do on average has a gap about zero."""

    def alike(row):
        if row["set"] != "forget":
            return row
        same = np.mean([values[name, 60, row["subject"]][0] for name in ("retrained", "retrained-1")])
        return row | {"dice": float(same)}

    study = suite_study(alike)
    gap = metric_intervals(study, values_after(study, ["n0", "n1"], 4))["retrain_gap"]
    assert gap == pytest.approx((0, 0, 0), abs=1e-12)
    other = suite_study()
    gap = metric_intervals(other, values_after(other, ["n0", "n1"], 4))["retrain_gap"]
    assert 0 == gap.low < gap.mean < gap.high < 1  # of two subjects: no difference is possible too


def test_a_baseline_of_zero_gives_no_retention_and_no_warning(suite_study, recwarn):
    study = suite_study(lambda row: row | {"dice": 0.0} if row["set"] == "retain" else row)
    found = metric_intervals(study, values_after(study, ["n0"], 4))
    assert np.isnan(found["retention"]).all()
    assert found["dice_gap"].mean < 0
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_one_forget_subject_leaves_unknown_what_depends_on_it(suite_study):
    study = suite_study()
    study = replace(study, subjects=study.subjects[study.subjects["subject"] != "f2"])
    found = metric_intervals(study, values_after(study, ["n0", "n1"], 4))
    unknown = {name for name, bounds in found.items() if np.isnan(bounds.low)}
    assert unknown == {"forget_dice", "dice_gap", "forget_mae", "mae_gap", "retrain_gap"}
    assert np.isfinite([bounds.mean for bounds in found.values()]).all()


def test_columns_of_an_interval():
    assert with_bounds({"x": Interval(0.5, 0.4, 0.7)}) == {"x": 0.5, "x_low": 0.4, "x_high": 0.7}
