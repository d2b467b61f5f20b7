"""Settings that are refused, all at once."""

import math
from dataclasses import FrozenInstanceError

import pytest

from study.records.files import digest_of
from trainables.recipe import Recipe


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("optimizer", "adam", "'adamw' or 'sgd'"),
        ("batch_norm", "", "'train' or 'frozen'"),
        ("forget_schedule", "Cosine", "'constant', 'warmup', 'cosine' or 'until_floor'"),
        *((name, 0, "greater than or equal to 1") for name in ("epochs", "retain_batch", "forget_batch")),
        *(
            (name, -1, "greater than or equal to 0")
            for name in ("lr", "weight_decay", "clip", "lr_warmup", "lora_rank")
        ),
        *((name, math.nan, "greater than or equal to 0") for name in ("lr", "weight_decay", "clip")),
        *((name, True, "valid") for name in ("lr", "epochs")),
        ("epochs", 2.0, "valid integer"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_rule(name, value, rule):
    with pytest.raises(ValueError, match=rf"1 validation error for Recipe\n{name}\n.*{rule}"):
        Recipe(**{name: value})


def test_all_problems_come_at_once():
    with pytest.raises(ValueError, match="5 validation errors") as caught:
        Recipe(epochs=0, lr=-0.1, optimizer="lion", clip=-2, batch_norm="off")
    assert {problem["loc"][0] for problem in caught.value.errors()} == {
        "epochs",
        "lr",
        "optimizer",
        "clip",
        "batch_norm",
    }


def test_every_legal_word_and_the_least_numbers_will_do():
    for optimizer in ("adamw", "sgd"):
        for batch_norm in ("train", "frozen"):
            for schedule in ("constant", "warmup", "cosine", "until_floor"):
                Recipe(1, 0.0, 0.0, 1, 1, optimizer, 0.0, batch_norm, 0, schedule, 1, 0)


def test_a_recipe_does_not_change():
    with pytest.raises(FrozenInstanceError):
        Recipe().lr = 1.0


@pytest.mark.parametrize(
    ("schedule", "length", "factors"),
    [
        ("constant", 3, [1, 1, 1, 1, 1]),
        ("warmup", 4, [1 / 4, 2 / 4, 3 / 4, 1, 1, 1]),
        ("warmup", 1, [1, 1, 1]),
        ("cosine", 4, [1, (1 + math.sqrt(0.5)) / 2, 1 / 2, (1 - math.sqrt(0.5)) / 2, 0, 0, 0]),
        ("cosine", 1, [1, 0, 0]),
    ],
)
def test_a_factor_an_epoch_from_the_first_on(schedule, length, factors):
    recipe = Recipe(epochs=2, forget_schedule=schedule, schedule_epochs=length)
    found = [recipe.forget_factor(epoch, 0.1, 0.9) for epoch in range(1, len(factors) + 1)]
    assert found == pytest.approx(factors, abs=1e-12)
    assert all(value == 0 for value, expected in zip(found, factors, strict=True) if expected == 0)


@pytest.mark.parametrize(
    ("retain_dice", "floor", "factor"),
    [(0.83, 0.8, 1), (0.8201, 0.8, 1), (0.8199, 0.8, 0), (0.5, 0.8, 0), (math.inf, 0.8, 1), (math.nan, 0.8, 0)],
)
def test_until_floor_pushes_while_the_retain_dice_is_clear_of_it(retain_dice, floor, factor):
    recipe = Recipe(forget_schedule="until_floor")
    assert [recipe.forget_factor(epoch, retain_dice, floor) for epoch in (1, 7)] == [factor, factor]


@pytest.mark.parametrize("schedule", ["constant", "warmup", "cosine", "until_floor"])
def test_the_number_of_epochs_plays_no_part(schedule):
    short, long = (Recipe(epochs=epochs, forget_schedule=schedule, lr_warmup=3) for epochs in (2, 50))
    for epoch in range(1, 9):
        assert short.forget_factor(epoch, 0.9, 0.5) == long.forget_factor(epoch, 0.9, 0.5)
        assert short.lr_factor(epoch) == long.lr_factor(epoch)


@pytest.mark.parametrize(
    ("epochs", "factor"), [(0.25, 0.125), (0.5, 0.25), (1, 0.5), (1.75, 0.875), (2, 1), (2.25, 1), (40, 1)]
)
def test_the_learning_rate_rises_linearly(epochs, factor):
    assert Recipe(lr_warmup=2).lr_factor(epochs) == pytest.approx(factor)
    assert Recipe().lr_factor(epochs) == 1


@pytest.mark.parametrize(("epochs", "factor"), [(0.5, 0.25), (3, 1), (3.25, 0.1), (5, 0.1), (5.5, 0.01), (40, 1e-3)])
def test_the_learning_rate_falls_to_a_tenth_after_each_epoch_that_is_named(epochs, factor):
    assert Recipe(lr_decay="3/5/9", lr_warmup=2).lr_factor(epochs) == pytest.approx(factor)


def test_what_stands_for_a_fit_does_not_change_with_settings_that_came_later():
    assert digest_of(Recipe(100, 1e-3).plain()) == "a4330f9a8533"  # as version 0.1 has it
    assert Recipe(augment="shift").plain() == {**Recipe().plain(), "augment": "shift"}
