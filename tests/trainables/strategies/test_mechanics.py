"""Combinations: the five published ones, what they leave alone, and those that are none."""

import math

import pytest

from trainables.strategies.fix_decoder import fix_decoder
from trainables.strategies.loss_level import loss_level
from trainables.strategies.max_loss import max_loss
from trainables.strategies.mean_label import mean_label
from trainables.strategies.mechanics import mechanics
from trainables.strategies.noisy_label import noisy_label
from trainables.strategies.random_encoder import random_encoder
from trainables.strategies.retain_label import retain_label

PUBLISHED = {
    "noisy_label": (
        noisy_label(0.8, 0.3, "epoch"),
        mechanics(noise_rate=0.8, forget_weight=0.3, resample="epoch"),
    ),
    "retain_label": (retain_label(0.4), mechanics("retain_labels", forget_weight=0.4)),
    "max_loss": (max_loss(0.2, 1.5), mechanics("ascent", forget_weight=0.2, ceiling=1.5)),
    "random_encoder": (random_encoder(0.7), mechanics("random_features", "features", forget_weight=0.7)),
    "mean_label": (mean_label(0.4), mechanics("mean_label", forget_weight=0.4)),
    "loss_level": (loss_level(0.3, 0.4), mechanics("loss_level", forget_weight=0.4, level=0.3)),
    "gaussian": (noisy_label(noise="gaussian"), mechanics(noise="gaussian")),
    "fix_decoder": (
        fix_decoder(0.6, "uniform", "epoch"),
        mechanics("noise_image", "features", "encoder", 0.6, image="uniform", resample="epoch"),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_strategies_are_combinations(after, changed, name):
    (named, _), (combined, before) = (after(strategy) for strategy in PUBLISHED[name])
    assert not changed(named, combined)
    assert changed(named, before)


@pytest.mark.slow
def test_every_choice_makes_a_difference(after):
    strategies = [
        *(mechanics(forget, moves="encoder") for forget in ("noisy_labels", "retain_labels", "ascent")),
        *(mechanics(forget) for forget in ("random_features", "noise_image", "retain_features", "feature_ascent")),
        mechanics(retain="features"),
        mechanics("random_features", "features"),
        mechanics("noise_image", image="constant"),
        mechanics(moves="decoder"),
        mechanics(),
        mechanics(noise_rate=0.5),
        mechanics(forget_weight=0.5),
        *(mechanics(resample=resample) for resample in ("epoch", "step")),
        *(mechanics(forget) for forget in ("mean_label", "loss_level")),
        mechanics(noise="gaussian"),
    ]
    found = [after(strategy)[0] for strategy in strategies]
    assert len({str([value.sum().item() for value in state.values()]) for state in found}) == len(strategies)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "moves"),
    [
        (fix_decoder(), "encoder"),
        (mechanics("noisy_labels", "segment", "encoder"), "encoder"),
        (mechanics("ascent", "segment", "decoder"), "decoder"),
    ],
)
def test_the_part_that_does_not_move_keeps_weights_and_statistics(after, changed, med3d_10, small, strategy, moves):
    found, before = after(strategy, med3d_10(), small)
    assert changed(found, before) == {name for name in found if name.startswith(moves)}


@pytest.mark.parametrize(
    "choices", [{"forget": "random_features", "moves": "all"}, {"retain": "features", "moves": "decoder"}]
)
def test_a_term_on_features_moves_the_encoder_alone(choices):
    with pytest.raises(ValueError, match=f"moves the encoder alone, but got moves='{choices['moves']}'"):
        mechanics(**choices)


def test_ascent_has_no_bound_unless_asked_for(step):
    now = step()
    bounded, free = (strategy.forget(now).item() for strategy in (max_loss(ceiling=0.01), max_loss()))
    assert bounded == pytest.approx(-0.01)
    assert free < -0.5
    assert math.isfinite(free)
