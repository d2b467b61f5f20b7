"""Settings that are refused, all at once."""

import math
from dataclasses import FrozenInstanceError

import pytest

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
