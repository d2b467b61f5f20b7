import dataclasses

import pytest
from rich.console import Console

from study.planning.plan import make_plan
from study.records.reading import load_study
from study.terminal.summary import print_evidence

JUDGES = ("retrained-1", "retrained-2", "retrained-3")


@pytest.fixture
def chosen(settings):
    """The selection of the tiny cohort's study with changed settings, and the plan."""

    def choose(**changes):
        plan = make_plan(dataclasses.replace(settings, **{"heldout_count": 3, "forget_count": 1, **changes}))
        return plan.selection, plan

    return choose


@pytest.mark.parametrize("objective", ["gap", "retrain"])
def test_the_first_retrained_reference_steers_and_the_others_judge(chosen, objective):
    found, plan = chosen(objective=objective)
    assert (found.steering_references, found.report_references) == (("retrained",), JUDGES)
    assert (found.steering_heldout, found.report_heldout, found.warnings) == ((), plan.split.heldout, ())
    assert len(found.report_heldout) == 3


@pytest.mark.parametrize("count", [2, 3, 4])
def test_half_of_the_held_out_subjects_steer_and_the_others_are_reported(chosen, count):
    found, plan = chosen(objective="unseen", heldout_count=count)
    (everyone, _) = chosen(objective="gap", heldout_count=count)
    assert len(found.steering_heldout) == count // 2
    assert not set(found.steering_heldout) & set(found.report_heldout)
    assert {*found.steering_heldout, *found.report_heldout} == set(everyone.report_heldout)
    assert (found.steering_heldout, found.report_heldout) == (plan.split.steering, plan.split.heldout)
    assert (found.report_references, found.warnings) == (JUDGES, ())
    assert chosen(objective="unseen", heldout_count=count)[0] == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"objective": "retrain", "references": 1}, "--references 4"),
        ({"objective": "unseen", "heldout_count": 1}, "hold out more"),
    ],
    ids=["retrain", "unseen"],
)
def test_too_few_to_split_is_said_loudly(chosen, examined, tmp_path, changes, advice):
    found, plan = chosen(**changes)
    (warning,) = found.warnings
    assert warning.startswith("OPTIMISTIC: the one ")
    assert advice in warning
    if changes["objective"] == "retrain":
        assert found.steering_references == found.report_references == ("retrained",)
    else:
        assert found.steering_heldout == found.report_heldout
        assert len(found.report_heldout) == 1
    console = Console(record=True, width=200)
    print_evidence(plan, load_study(examined.folder).reference_rows, console)
    assert warning in console.export_text()


@pytest.mark.parametrize("objective", ["gap", "retrain", "unseen"])
def test_one_of_each_is_warned_of_where_it_steers(chosen, objective):
    found, _ = chosen(objective=objective, references=1, heldout_count=1)
    assert len(found.warnings) == 1 + (objective == "unseen")
