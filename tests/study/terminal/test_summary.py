import io
from dataclasses import replace

import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from rich.console import Console

from search_spaces.narrowing import GRAMMAR, narrow
from search_spaces.space import SPACES, Space
from study.planning.plan import make_plan
from study.session import study_record
from study.terminal.space import print_space
from study.terminal.summary import print_plan, print_result


@pytest.fixture
def plan(settings):
    return make_plan(settings)


@pytest.fixture
def begun(plan):
    """The plan's folder holds what a session writes first."""
    plan.settings.folder.mkdir(parents=True)
    study_record(plan, {}).write(plan.settings.folder)
    return plan


def said(print_it, *arguments):
    console = Console(width=100, record=True, file=io.StringIO())
    print_it(*arguments, console)
    return console.export_text()


def test_a_server_is_named_by_its_address_and_a_store_by_the_command_that_opens_it(begun):
    uri = "http://127.0.0.1:5000"
    assert f"MLflow, pages   {uri}\n" in said(print_result, begun, uri, None, True)
    own = f"--studies {begun.settings.studies}"
    assert f"python -m analysis.ui {own}\n" in said(print_result, begun, "sqlite:///mlflow.db", None, True)
    uri = "sqlite:////some where/[old]/mlflow.db"
    elsewhere = replace(begun, settings=replace(begun.settings, tracking_uri=uri))
    ending = said(print_result, elsewhere, uri, None, True)
    assert f"python -m analysis.ui {own} --tracking-uri '{uri}'\n" in ending


def test_without_a_feasible_trial_it_says_so_and_how_to_go_on(begun):
    text = said(print_result, begun, "sqlite:///x", "ConnectionError: [/gone]", False)
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
        ({}, ["noisy_label, 24 trials", "tpe, 1 published first; maximise the Dice gap where retention>=0.9\n"]),
        (
            {"constraint": ("seconds<=600", "retain_dice >= 0.5"), "retain_floor": 0.95},
            ["the Dice gap where retention>=0.95 and seconds<=600 and retain_dice>=0.5\n"],
        ),
        (
            {"objective": "front", "sampler": "nsga2"},
            ["nsga2, 1 pub", "maximise retain Dice and minimise forget Dice wh"],
        ),
        ({"sampler": "random", "enqueue": False}, ["search  random (blind to constraints); maximise"]),
        ({"early_stopping": True, "grace": 3}, ["tpe, 1 published first, early stopping after 3 epochs; max"]),
        ({"early_stopping": True}, ["early stopping after 15 epochs; max"]),
        ({"knobs": ("noise_rate=0.7",), "space": "mechanics"}, ["5 published first; maximise"]),
        ({"knobs": ("lr=0.5..1",)}, ["search  tpe; maximise"]),  # no published learning rate is as large
        ({"objective": "retrain"}, ["minimise the retrain gap where"]),
        ({"objective": "unseen"}, ["minimise the unseen gap where"]),
        (
            {"space": "mechanics", "knobs": ("forget=ascent", "epochs=9")},
            ["mechanics with forget=ascent, epochs=9, 24 trials"],
        ),
        ({"space": "lora"}, ["noisy_label with lora_scale=4.0, 24 trials"]),
        (
            {"space": "paper", "horizons": "5,3", "seeds": 2},
            [
                "5 strategies x 2 seeds, reported after 3 and 5 epochs, 10 trials",
                "search  maximise the Dice gap where",
            ],
        ),
    ],
    ids=str,
)
def test_the_plan_says_what_is_run_and_what_for(settings, changes, words):
    text = said(print_plan, make_plan(replace(settings, **changes)))
    assert all(word in text for word in words)


def test_the_plan_names_the_study_that_teaches(begun):
    plan = make_plan(replace(begun.settings, name="new", warm_start=begun.settings.name))
    assert f"tpe, 1 published first, taught by {begun.settings.name}; maximise" in said(print_plan, plan)


def rows_of(text):
    """The table's rows by their first word."""
    return {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line.strip()}


def test_a_space_is_told_with_every_knob_where_it_is_searched_and_what_comes_first():
    settings = ["noise_rate=0.5..1/0.25", "epochs=5|20", "lr=1e-3..1e-2", "clip=0.5"]
    text = said(print_space, narrow(SPACES.load("noisy_label"), settings))
    rows = rows_of(text)
    assert rows["strategy"] == "noisy_label"
    assert rows["noise_rate"] == "0.5..1 in steps of 0.25 1.0"
    assert rows["lr"] == "0.001..0.01, log 0.001"
    assert rows_of(said(print_space, narrow(SPACES.load("noisy_label"), ["lr=0.5..1"])))["epochs"] == "5..20"
    assert rows["epochs"] == "5|20 20"
    assert rows["clip"] == "held at 0.5"
    assert rows["forget_weight"] == "0.1..2, log 1.0"
    assert GRAMMAR in text


def test_a_space_is_told_with_its_conditions_and_its_size():
    space = Space(
        "mechanics",
        {
            "forget": CategoricalDistribution(["ascent", "noisy_labels"]),
            "moves": CategoricalDistribution(["all", "decoder"]),
            "noise_rate": CategoricalDistribution([0.5, 1.0]),
            "epochs": IntDistribution(1, 2),
        },
        conditions={"noise_rate": {"forget": ["noisy_labels"], "moves": ["all", "encoder"]}},
        first=[
            {"forget": "ascent", "moves": "all", "epochs": 2},
            {"forget": "ascent", "moves": "decoder", "epochs": 2},
        ],
    )
    text = said(print_space, space)
    assert "strategy mechanics, 10 configurations\n" in text  # (2 + 2 + 1) x 2
    rows = rows_of(text)
    assert rows["noise_rate"] == "0.5|1.0 forget in noisy_labels and moves in all|encoder -"
    assert rows["forget"] == "ascent|noisy_labels ascent"
    assert rows["moves"] == "all|decoder all decoder"
    assert rows["epochs"] == "1..2 2"


@pytest.mark.parametrize("name", [name for name in SPACES.names() if name not in ("paper", "strategies")])
def test_every_space_is_told_whole(name):
    text, space = said(print_space, SPACES.load(name)), SPACES.load(name)
    assert {*space.domains, *space.fixed} <= set(rows_of(text))
    assert "..." not in text
    assert "\u2026" not in text


def test_a_suite_is_told_with_its_recipes():
    text = said(print_space, replace(SPACES.load("paper"), seeds=2, horizons=(3, 9)))
    rows = rows_of(text)
    assert rows["max_loss"] == "lr=0.0003 forget_weight=0.1"
    assert rows["noisy_label"] == "lr=0.001 noise_rate=1.0 forget_weight=1.0"
    assert len(text.splitlines()) == 2 + 5 + 1
    assert rows["each"] == "with 2 seeds, reported after 3 and 9 epochs"
