import io
from dataclasses import replace

import pytest
from rich.console import Console

from study.plan import make_plan
from study.records import write_json
from study.session import _description
from study.summary import print_plan, print_result


@pytest.fixture
def plan(settings):
    return make_plan(settings)


@pytest.fixture
def begun(plan):
    """The plan's folder holds what a session writes first."""
    plan.settings.folder.mkdir(parents=True)
    write_json(plan.settings.folder / "study.json", _description(plan, {}))
    return plan


def said(print_it, *arguments):
    console = Console(width=100, record=True, file=io.StringIO())
    print_it(*arguments, console)
    return console.export_text()


def test_a_server_is_named_by_its_address_and_a_store_by_the_command_that_opens_it(begun):
    uri = "http://127.0.0.1:5000"
    assert f"MLflow          {uri}\n" in said(print_result, begun, [], uri, None, True)
    uri = "sqlite:////some where/[old]/mlflow.db"
    assert f"mlflow ui --backend-store-uri '{uri}'" in said(print_result, begun, [], uri, None, True)


def test_without_a_feasible_trial_it_says_so_and_how_to_go_on(begun):
    text = said(print_result, begun, [], "sqlite:///x", "ConnectionError: [/gone]", False)
    assert "no feasible trial" in text
    assert "ConnectionError: [/gone]" in text
    assert f"--resume {begun.settings.name} --studies" in text


def test_the_plan_counts_people_and_voxels(plan):
    text = said(print_plan, plan)
    assert f"{len(plan.split.retain)} retain, {len(plan.split.forget)} forget" in text
    assert f"{len(plan.cohort.subjects)} subjects" in text
    odd = replace(plan, settings=replace(plan.settings, cohort="medicalnet:/data/[old]/list.txt"))
    assert "/data/[old]/list.txt" in said(print_plan, odd)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["noisy_label, 24 trials", "maximise the Dice gap where retention >= 0.9"]),
        ({"objective": "retrain"}, ["minimise the retrain gap where"]),
        ({"objective": "unseen"}, ["minimise the unseen gap where"]),
        (
            {"space": "mechanics", "fix": "forget=ascent,epochs=9"},
            ["mechanics with forget=ascent, epochs=9, 24 trials"],
        ),
        ({"space": "lora"}, ["noisy_label with lora_scale=4.0, 24 trials"]),
        (
            {"space": "paper", "horizons": "5,3", "seeds": 2},
            ["5 strategies x 2 seeds, reported after 3 and 5 epochs, 10 trials"],
        ),
    ],
    ids=str,
)
def test_the_plan_says_what_is_run_and_what_for(settings, changes, words):
    text = said(print_plan, make_plan(replace(settings, **changes)))
    assert all(word in text for word in words)
