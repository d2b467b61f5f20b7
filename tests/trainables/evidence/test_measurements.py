"""All measurements of a network, of networks that a recipe makes, and a study whose answer is known."""

import copy

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from analysis.evidence.conclude import conclude
from analysis.evidence.conclusion import Examined, Findings, Judged, Terms
from analysis.evidence.verdict import CANNOT_TELL, NEVER_SEEN, REMEMBERS
from trainables.data import Sets, TrialData
from trainables.evidence import measurements
from trainables.evidence.measure import Context
from trainables.evidence.measurements import (
    MEASURES,
    RecipeOf,
    examine,
    metrics_of,
    scores_after,
    scores_of,
    weights_after,
)
from trainables.evidence.measures import relearn_steps, resurfaced_dice
from trainables.evidence.scores import score
from trainables.fitting import fit, initial_network, weights_of
from trainables.recipe import Recipe

STILL = {"lr": 0.0, "epochs": 1, "batch_norm": "frozen"}


@pytest.fixture
def weights(med3d_10):
    return weights_of(med3d_10())


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def equal_scores(first, second):
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)


@pytest.mark.slow
def test_an_examination_is_each_measurement_by_itself(med3d_10, weights, toy, monkeypatch):
    before = copy.deepcopy(weights)
    other = {**weights, "decoder.6.weight": weights["decoder.6.weight"][::-1].copy()}
    monkeypatch.setattr(relearn_steps, "MOST_STEPS", 6)
    monkeypatch.setattr(resurfaced_dice, "RETAIN_EPOCHS", 1)
    found = examine(toy, weights, {"itself": weights, "other": other}, other, 10, 0.5, 1e-3, 5, MEASURES.names())
    network = med3d_10()
    context = Context(toy, score(network, toy, toy.forget + toy.heldout), 10, {"other": other}, other, 0.5, 1e-3, 5)
    assert equal_scores(found.forget, score(network, toy, toy.forget))
    assert equal_scores(found.heldout, score(network, toy, toy.heldout))
    assert list(found.values) == MEASURES.names()
    for name, values in found.values.items():
        np.testing.assert_array_equal(values, MEASURES.load(name)(copy.deepcopy(network), context))
    assert found.values["activation_distance"] > 0
    assert not found.problems
    assert same(weights, before)


OTHERS = """
import numpy as np
import torch
from trainables.evidence.measure import Measure

def wrong(network, context):
    for value in network.parameters():
        value.data.zero_()
    return np.zeros(5)

wrong = Measure(wrong, "Wrong", question="", remembered="more")
broken = Measure(lambda network, context: 1 / 0, "Broken", question="", remembered="more")
"""


def test_a_measure_that_fails_is_left_out_with_its_reason_and_spoils_no_other(weights, toy, tmp_path, monkeypatch):
    (tmp_path / "of_others.py").write_text(OTHERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(resurfaced_dice, "RETAIN_EPOCHS", 1)
    bad = ["of_others:wrong", "of_others:broken", "of_others:missing"]
    alone, found = (
        examine(toy, weights, {}, weights, 10, 0.5, 1e-3, 5, [*names, "resurfaced_dice"]) for names in ([], bad)
    )
    assert list(found.problems) == bad
    for name, reason in zip(bad, ("got values.shape=(5,)", "division by zero", "has no 'missing'"), strict=True):
        assert reason in found.problems[name]
    np.testing.assert_array_equal(found.values["resurfaced_dice"], alone.values["resurfaced_dice"])


def test_scores_and_metrics_of_any_subjects_agree(weights, toy):
    subset = (*toy.heldout, *toy.forget)
    found = scores_of(toy, weights, 10, subset)
    metrics = metrics_of(toy, weights, 10, {"all": subset, "last": subset[-1:]})
    assert metrics["all_dice"] == pytest.approx(found.dice.mean(), abs=1e-6)
    assert metrics["last_mae"] == pytest.approx(1 - found.confidence[-1], abs=1e-6)


@pytest.mark.slow
def test_a_recipe_that_moves_nothing_gives_the_network_itself(weights, toy):
    sets = Sets(toy.retain[:2], toy.forget[:1])
    recipe = RecipeOf("noisy_label", STILL, 0, 0.0)
    assert same(weights_after(toy, weights, 10, sets, recipe), weights)
    found = scores_after(toy, weights, 10, sets, recipe, toy.heldout)
    assert equal_scores(found, scores_of(toy, weights, 10, toy.heldout))


@pytest.mark.slow
def test_a_recipe_unlearns_the_given_sets_as_the_loop_does(med3d_10, weights, toy):
    sets = Sets(toy.retain[1:3], toy.retain[3:4])
    found = weights_after(toy, weights, 10, sets, RecipeOf("finetune", {"epochs": 2, "lr": 1e-3}, 4, 0.0))
    network = med3d_10()
    for _ in fit(network, toy, toy.retain[1:3], Recipe(epochs=2, lr=1e-3), 4):
        pass
    assert same(found, weights_of(network))
    assert not same(found, weights)


@pytest.mark.parametrize("strategy", ["noisy_label", "scrub"])  # both batches in a step, or one after the other
def test_whoever_else_unlearns_by_a_trials_recipe_takes_as_many_steps(tiny_network, toy, strategy, monkeypatch):
    monkeypatch.setattr(measurements, "network_of", lambda *_: tiny_network())
    taken = []
    hook = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    knobs = {"epochs": 3, "retain_batch": 2, "forget_batch": 2, "lr": 1e-3}
    half = Sets(toy.retain[:2], toy.forget[1:] + toy.heldout[:1])
    for sets in (Sets(toy.retain, toy.forget), half):
        scores_after(toy, {}, 10, sets, RecipeOf(strategy, knobs, 0, 0.0), toy.heldout)
        taken.append(0)
    hook.remove()
    assert taken == [*taken[: len(taken) // 2]] * 2
    assert sum(taken) == 2 * {"noisy_label": 3 * 4, "scrub": 3 * 4 + 2 * 2}[strategy]  # 7 retain and 3 forget scans


@pytest.mark.slow
def test_adapters_are_folded_into_a_plain_network(weights, toy):
    recipe = RecipeOf("finetune", {"epochs": 1, "lr": 1e-2, "lora_rank": 2}, 0, 0.0)
    sets = Sets(toy.retain[:2], toy.forget)
    found = weights_after(toy, weights, 10, sets, recipe)
    assert found.keys() == weights.keys()
    assert not np.array_equal(found["decoder.3.weight"], weights["decoder.3.weight"])
    expected = scores_after(toy.with_sets(sets), weights, 10, sets, recipe, toy.forget)
    np.testing.assert_allclose(scores_of(toy, found, 10, toy.forget).confidence, expected.confidence, atol=1e-4)


@pytest.mark.slow
def test_a_schedule_that_watches_the_floor_sees_it_in_every_epoch(weights, toy):
    sets = Sets(toy.retain[:1], toy.forget)
    knobs = {"epochs": 2, "lr": 1e-3, "forget_schedule": "until_floor"}
    above, below = (
        weights_after(toy, weights, 10, sets, RecipeOf("noisy_label", knobs, 0, floor)) for floor in (2.0, -1.0)
    )
    assert not same(above, below)  # above every Dice the forget term ends after the first epoch


@pytest.fixture(scope="module")
def known():
    """A network that learned 12 subjects by heart, and four that never saw six of them, examined.

    A label is the column that the image shows and one at a corner of it, drawn by lot, which only memory can tell.
    """
    rng, shape = np.random.default_rng(0), (18, 8, 16, 16)
    labels, images = np.zeros(shape, np.uint8), rng.normal(0, 0.5, shape)
    for image, label in zip(images, labels, strict=True):
        shown = rng.integers(4, 6, 2)
        hidden = shown + rng.choice([-4, 4], 2)
        seen, known = ((slice(None), *(slice(start, start + 6) for start in box)) for box in (shown, hidden))
        image[seen] += 2
        label[seen] = label[known] = 1
    retain, forget, heldout = (tuple((scan,) for scan in range(start, start + 6)) for start in (0, 6, 12))
    data = TrialData(images.astype(np.float32), labels, retain, forget, heldout, classes=2)

    def fitted(taught, seed, epochs):
        network = initial_network(10, 2, seed)
        list(fit(network, data, taught, Recipe(epochs=epochs, lr=1e-3, retain_batch=3), seed, epochs))
        return weights_of(network)

    def examined(weights):
        measured = examine(
            data, weights, retrained, networks["baseline"], 10, baseline_dice, 1e-3, 0, MEASURES.names()
        )
        assert not measured.problems
        return Examined(vars(measured.forget), vars(measured.heldout), measured.values)

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relearn_steps, "MOST_STEPS", 6)
        patch.setattr(resurfaced_dice, "RETAIN_EPOCHS", 1)
        retrained = {f"retrained-{seed}": fitted(retain, seed, 12) for seed in (1, 2, 3)}
        networks = {"baseline": fitted(retain + forget, 0, 16), "further": fitted(retain, 5, 12), **retrained}
        baseline_dice = scores_of(data, networks["baseline"], 10, forget).dice.mean()
        return {name: examined(weights) for name, weights in networks.items()}


def concluded(known, name):
    retrained = {other: examined for other, examined in known.items() if other.startswith("retrained")}
    kinds = {measure: MEASURES.load(measure) for measure in MEASURES.names()}
    measures = {
        key: Judged(kind.title, kind.unit, kind.scale, kind.remembered, kind.judged) for key, kind in kinds.items()
    }
    terms = Terms(measures, ["f1", "f2", "f3", "f4", "f5", "f6"], 0.25, 3)
    return conclude(Findings(known[name], retrained, {"baseline": known["baseline"]}), terms).columns


@pytest.mark.slow
def test_a_network_that_learned_by_heart_is_told_from_the_retrained_ones(known):
    found = concluded(known, "baseline")
    assert found["verdict"] == REMEMBERS
    assert found["loss_auc"] > 0.95
    assert found["dice_auc"] > 0.95
    assert found["relearn_steps"] == 0
    assert found["relearn_steps_retrained"] > 4
    assert found["activation_distance"] > 2 * found["activation_distance_retrained"] > 0
    assert found["nearness"] == 1
    assert found["nearness_retrained"] < 0.4
    assert found["change_auc"] == 0.5  # nothing changed
    assert found["inversion"] > found["inversion_retrained"]
    assert found["equivalence_p"] > 0.5


@pytest.mark.slow
def test_a_further_retrained_network_looks_clean(known):
    found = concluded(known, "further")
    assert found["verdict"] in (NEVER_SEEN, CANNOT_TELL)
    assert found["relearn_steps"] > 0
    assert found["loss_auc"] < 0.9
    assert found["activation_distance"] < 2 * found["activation_distance_retrained"]
    assert found["nearness"] < 0.4
    assert found["change_auc_p"] > 0.05
    assert found["inversion_residual_low"] < 0
