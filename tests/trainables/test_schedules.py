"""Factors against their closed forms, epoch by epoch."""

import math

import pytest

from trainables.recipe import Recipe
from trainables.schedules import forget_factor, lr_factor


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
    found = [forget_factor(recipe, epoch, 0.1, 0.9) for epoch in range(1, len(factors) + 1)]
    assert found == pytest.approx(factors, abs=1e-12)
    assert all(value == 0 for value, expected in zip(found, factors, strict=True) if expected == 0)


@pytest.mark.parametrize(
    ("retain_dice", "floor", "factor"),
    [(0.83, 0.8, 1), (0.8201, 0.8, 1), (0.8199, 0.8, 0), (0.5, 0.8, 0), (math.inf, 0.8, 1), (math.nan, 0.8, 0)],
)
def test_until_floor_pushes_while_the_retain_dice_is_clear_of_it(retain_dice, floor, factor):
    recipe = Recipe(forget_schedule="until_floor")
    assert [forget_factor(recipe, epoch, retain_dice, floor) for epoch in (1, 7)] == [factor, factor]


@pytest.mark.parametrize("schedule", ["constant", "warmup", "cosine", "until_floor"])
def test_the_number_of_epochs_plays_no_part(schedule):
    short, long = (Recipe(epochs=epochs, forget_schedule=schedule, lr_warmup=3) for epochs in (2, 50))
    for epoch in range(1, 9):
        assert forget_factor(short, epoch, 0.9, 0.5) == forget_factor(long, epoch, 0.9, 0.5)
        assert lr_factor(short, epoch) == lr_factor(long, epoch)


@pytest.mark.parametrize(
    ("epochs", "factor"), [(0.25, 0.125), (0.5, 0.25), (1, 0.5), (1.75, 0.875), (2, 1), (2.25, 1), (40, 1)]
)
def test_the_learning_rate_rises_linearly(epochs, factor):
    assert lr_factor(Recipe(lr_warmup=2), epochs) == pytest.approx(factor)
    assert lr_factor(Recipe(), epochs) == 1
