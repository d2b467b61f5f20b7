"""From plain values to a strategy and a recipe."""

import inspect
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter

from trainables import strategies
from trainables.mechanics.strategy import Strategy, build
from trainables.recipe import Recipe

NAMES = sorted(file.stem for file in Path(strategies.__path__[0]).glob("[!_]*.py"))


def test_knobs_of_the_recipe_and_of_the_preset_are_told_apart():
    knobs = {"lr": 0.5, "epochs": 7, "weight_decay": 0.1, "retain_batch": 4, "forget_batch": 2, "forget_weight": 0.2}
    strategy, recipe = build("noisy_label", knobs)
    assert recipe == Recipe(7, 0.5, 0.1, 4, 2)
    assert strategy.forget_weight == 0.2
    assert build("noisy_label", {})[1] == Recipe()


def test_a_knob_that_nothing_takes_is_an_error():
    with pytest.raises(ValueError, match="noise_rat: unexpected"):
        build("noisy_label", {"noise_rat": 0.5})


@pytest.mark.parametrize(
    ("knobs", "problem"),
    [
        ({"noise_rate": "0.5"}, "noise_rate: .*number, but got '0.5'"),
        ({"resample": 1}, "resample: .*'never', 'epoch' or 'step', but got 1"),
        ({"epochs": 2.0}, "epochs: .*integer, but got 2.0"),
        ({"epochs": True}, "epochs: .*integer, but got True"),
        ({"lr": True}, "lr: .*number, but got True"),
        ({"optimizer": None}, "optimizer: .*'adamw' or 'sgd', but got None"),
        ({"lora_rank": 2.5, "epochs": 0}, r"epochs: .*; lora_rank: .*integer, but got 2.5"),
        (
            {"noise_rate": 7, "forget_weight": -1},
            r"noise_rate: .*less than or equal to 1, .*; forget_weight: .*got -1",
        ),
    ],
)
def test_a_value_of_another_kind_is_refused_with_all_others(knobs, problem):
    with pytest.raises(ValueError, match=problem):
        build("noisy_label", knobs)


@pytest.mark.parametrize(("before", "now"), [(False, "never"), (True, "epoch")])
def test_the_truth_values_of_earlier_studies_still_say_when_to_draw_anew(step, before, now):
    losses = [[build("retain_label", {"resample": value})[0].forget(step(epoch=epoch)).item() for epoch in range(6)]
              for value in (before, now)]  # fmt: skip
    assert losses[0] == losses[1]
    assert (len(set(losses[0])) > 1) == before


def test_a_whole_number_will_do_for_a_fraction():
    strategy, recipe = build("noisy_label", {"lr": 1, "forget_weight": 2})
    assert (strategy.forget_weight, recipe.lr) == (2, 1)


@pytest.mark.parametrize(
    ("name", "knobs", "problem"),
    [
        ("noisy_label", {"optimizer": "lion", "clip": -1.0}, "optimizer: .*; clip: |clip: .*; optimizer: "),
        ("exact_k", {"k": 0}, "k: .*greater than or equal to 1, but got 0"),
        ("cf_k", {"k": 7}, "k: .*less than or equal to 6, but got 7"),
        ("fix_decoder", {"image": "blank"}, "image: .*'normal', 'uniform' or 'constant', but got 'blank'"),
        (
            "mechanics",
            {"forget": "a", "retain": "b", "moves": "c"},
            "forget: .*'feature_ascent', but got 'a'; retain: .*'b'; moves: .*'c'",
        ),
    ],
)
def test_what_preset_or_recipe_refuse_is_refused(name, knobs, problem):
    with pytest.raises(ValueError, match=problem):
        build(name, knobs)


def test_a_strategy_that_is_not_there():
    with pytest.raises(ValueError, match="no strategy 'noisy_labels'"):
        build("noisy_labels", {})


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_has_a_default_and_a_help_text_for_every_knob_and_none_of_the_recipes(name):
    preset = getattr(import_module(f"{strategies.__name__}.{name}"), name)
    knobs = inspect.signature(preset).parameters
    hints = get_type_hints(preset, include_extras=True)
    assert isinstance(build(name, {knob: argument.default for knob, argument in knobs.items()})[0], Strategy)
    assert not knobs.keys() & {field.name for field in fields(Recipe)}
    for knob in knobs:
        assert f"        {knob}: " in preset.__doc__ or TypeAdapter(hints[knob]).json_schema().get("description")
