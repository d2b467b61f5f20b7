import io
from dataclasses import replace

import pytest
from rich.console import Console

from study.plan import make_plan
from study.summary import print_plan, print_result


@pytest.fixture
def plan(settings):
    return make_plan(settings)


def said(print_it, *arguments):
    console = Console(width=100, record=True, file=io.StringIO())
    print_it(*arguments, console)
    return console.export_text()


def test_a_server_is_named_by_its_address_and_a_store_by_the_command_that_opens_it(plan):
    uri = "http://127.0.0.1:5000"
    assert f"MLflow          {uri}\n" in said(print_result, plan, [], uri, None, True)
    uri = "sqlite:////some where/[old]/mlflow.db"
    assert f"mlflow ui --backend-store-uri '{uri}'" in said(print_result, plan, [], uri, None, True)


def test_without_a_feasible_trial_it_says_so_and_how_to_go_on(plan):
    text = said(print_result, plan, [], "sqlite:///x", "ConnectionError: [/gone]", False)
    assert "no feasible trial" in text
    assert "ConnectionError: [/gone]" in text
    assert f"--resume {plan.settings.name} --studies" in text


def test_the_plan_counts_people_and_voxels(plan):
    text = said(print_plan, plan)
    assert f"{len(plan.split.retain)} retain, {len(plan.split.forget)} forget" in text
    assert f"{len(plan.cohort.subjects)} subjects" in text
    odd = replace(plan, settings=replace(plan.settings, cohort="medicalnet:/data/[old]/list.txt"))
    assert "/data/[old]/list.txt" in said(print_plan, odd)
