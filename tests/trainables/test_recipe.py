"""Settings that are refused, all at once."""

import math
import re
from dataclasses import FrozenInstanceError

import pytest

from trainables.recipe import BATCH_NORMS, OPTIMIZERS, SCHEDULES, Recipe


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("optimizer", "adam", "one of adamw, sgd"),
        ("batch_norm", "", "one of train, frozen"),
        ("forget_schedule", "Cosine", "one of constant, warmup, cosine, until_floor"),
        *((name, 0, "at least 1") for name in ("epochs", "retain_batch", "forget_batch", "schedule_epochs")),
        *((name, -1, "at least 0") for name in ("lr", "weight_decay", "clip", "lr_warmup", "lora_rank")),
        *((name, math.nan, "at least 0") for name in ("lr", "weight_decay", "clip")),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_rule(name, value, rule):
    with pytest.raises(ValueError, match=f"^{name} must be {rule}, but got {re.escape(repr(value))}$"):
        Recipe(**{name: value})


def test_all_problems_come_at_once():
    with pytest.raises(ValueError, match=r"optimizer .*batch_norm .*epochs .*lr .*clip ") as caught:
        Recipe(epochs=0, lr=-0.1, optimizer="lion", clip=-2, batch_norm="off")
    assert str(caught.value).count("; ") == 4


def test_every_legal_word_and_the_least_numbers_will_do():
    for optimizer in OPTIMIZERS:
        for batch_norm in BATCH_NORMS:
            for schedule in SCHEDULES:
                Recipe(1, 0.0, 0.0, 1, 1, optimizer, 0.0, batch_norm, 0, schedule, 1, 0)


def test_a_recipe_does_not_change():
    with pytest.raises(FrozenInstanceError):
        Recipe().lr = 1.0
