"""What measurements mean: networks drawn so that the conclusion is known, and columns computed by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from analysis.evidence import conclude as concluding
from analysis.evidence.conclude import conclusions
from analysis.evidence.conclusion import Conclusion, Examined, Findings, Judged, Shadows, Terms
from analysis.evidence.verdict import COLUMNS as VERDICT_COLUMNS
from analysis.statistics.membership import comparisons
from analysis.statistics.significance import equivalence
from study.evidence.columns import all_columns
from study.records.evidence import EvidenceColumn
from study.records.tables import references_table

TERMS = Terms({"relearn_steps": Judged("Steps", "steps"), "resurfaced_dice": Judged("Dice")}, "abcdef", 0.25, 4)


def scores(dice, loss=None, confidence=None, features=None):
    """Of subjects with two foreground classes, whose mean is the Dice."""
    dice, rng = np.asarray(dice, float), np.random.default_rng(len(dice))
    return {
        "dice": dice,
        "class_dice": np.stack([dice - 0.05, dice + 0.05], 1),
        "cross_entropy": 1 - dice if loss is None else np.asarray(loss, float),
        "confidence": np.clip(dice, 0.01, 0.99) if confidence is None else np.asarray(confidence, float),
        "features": rng.normal(size=(len(dice), 4)) if features is None else features,
    }


def network(forget, heldout=(0.62, 0.68, 0.65, 0.7, 0.6, 0.66), **measures):
    taken = {"relearn_steps": 7.0, **measures}
    return Examined(scores(forget), scores(heldout), {name: np.asarray(value) for name, value in taken.items()})


def conclude(network, retrained, shadows=None, draws=()):
    """The columns; nothing must have failed."""
    evidence = concluding.conclude(Findings(network, retrained, {}, shadows, draws), TERMS)
    assert not evidence.problems
    return evidence.columns


def retrained(mean, seed, count=6):
    rng = np.random.default_rng(seed)
    return mean + 0.005 * rng.normal() + np.array([-0.05, 0.04, 0.0, 0.03, -0.02, 0.01])[:count]


@pytest.fixture
def references():
    """Three retrained networks whose forget Dice is about 0.65."""
    return {
        name: network(
            retrained(0.65, seed), relearn_steps=5.0 + seed, resurfaced_dice=[0.5 + seed / 10, 0.6], change=[1.0] * 12
        )
        for seed, name in enumerate(("retrained", "retrained-1", "retrained-2"))
    }


def test_a_network_with_the_baselines_scores_remembers(references):
    found = conclude(network(np.full(6, 0.92), relearn_steps=0.0), references)
    assert found["loss_auc"] == found["dice_auc"] == 1
    assert found["equivalence_p"] > 0.99
    assert found["relearn_steps"] == 0


def test_the_columns_by_hand(references):
    mine = network([0.7, 0.6, 0.8, 0.5, 0.9, 0.65], relearn_steps=3.0, resurfaced_dice=[0.3, 0.5])
    found = conclude(mine, references)
    by_subject = mine.forget["dice"] - np.mean([other.forget["dice"] for other in references.values()], axis=0)
    assert found["subject_gap"] == pytest.approx(max(abs(by_subject)))
    assert found["class_gap"] == pytest.approx(abs(by_subject.mean()))  # both classes are as far off
    others = np.array([other.forget["dice"] for other in references.values()])
    assert found["equivalence_p"] == equivalence(mine.forget["dice"], others)
    truth = [1] * 6 + [0] * 6
    dice = np.concatenate([mine.forget["dice"], mine.heldout["dice"]])
    assert found["dice_auc"] == pytest.approx(roc_auc_score(truth, dice))
    assert found["loss_auc"] == pytest.approx(roc_auc_score(truth, dice))  # the loss here is 1 - Dice
    ranked = stats.mannwhitneyu(mine.forget["dice"], mine.heldout["dice"], method=stats.PermutationMethod())
    assert found["dice_auc_p"] == pytest.approx(ranked.pvalue)
    assert found["loss_auc_p"] == pytest.approx(found["dice_auc_p"])
    assert (found["relearn_steps"], found["resurfaced_dice"]) == (3, 0.4)  # of subjects, the mean
    assert found["relearn_steps_retrained"] == pytest.approx(6)
    assert found["resurfaced_dice_retrained"] == pytest.approx(0.6)


def test_the_class_gap_is_that_of_the_class_farthest_off(references):
    mine = network(retrained(0.65, 5))
    shifted = mine.forget["class_dice"] + [0.1, -0.3]
    found = conclude(mine._replace(forget={**mine.forget, "class_dice": shifted}), references)
    expected = shifted.mean(0) - np.mean(
        [other.forget["class_dice"].mean(0) for other in references.values()], axis=0
    )
    assert found["class_gap"] == pytest.approx(abs(expected[1]))


def test_who_holds_the_baseline_finds_those_that_changed_more_than_retraining_changes_them():
    changes = {"retrained": [2.0, 4, 3, 1, 1, 1, 1, 1, 1], "retrained-1": [4.0, 2, 3, 1, 1, 1, 1, 1, 1]}

    def changed(values):
        return network([0.6] * 3, change=values)

    others = {name: changed(values) for name, values in changes.items()}
    for factors, auc in (([1.0, 1, 1], 0.5), ([2.0, 2, 0.5], 2 / 3), ([0.5, 0.5, 0.5], 0), ([2.0, 2, 2], 1)):
        own = np.array([3.0, 3, 3, 1, 1, 1, 1, 1, 1]) * [*factors, *[1.0] * 6]
        found = conclude(changed(own), others)
        assert found["change_auc"] == pytest.approx(auc)
        assert found["change_auc_p"] == pytest.approx({0: 2 / 84, 1: 2 / 84, 0.5: 1}.get(auc, found["change_auc_p"]))
    assert conclude(changed([0.0] * 9), others)["change_auc"] == 0.5  # the baseline itself
    assert "change_auc" not in conclude(changed(own), {})


def test_a_loss_attack_needs_no_dice_gap(references):
    mine = network(np.full(6, 0.65))
    mine = mine._replace(forget=scores(mine.forget["dice"], loss=np.full(6, 0.1)))
    found = conclude(mine, references)
    assert found["loss_auc"] == 1
    assert found["dice_auc"] == pytest.approx(np.mean([other < 0.65 for other in mine.heldout["dice"]]) + 0.5 / 6)


def test_features_that_tell_the_two_apart_are_probed(references):
    mine = network(retrained(0.65, 4))
    features = np.random.default_rng(0).normal(size=(6, 4)) + 20
    assert (
        conclude(mine._replace(forget=scores(mine.forget["dice"], features=features)), references)["probe_auc"] == 1
    )


@pytest.fixture
def shadows():
    """Twenty shadow networks that half of the time had each of six forget and six held-out subjects."""
    rng = np.random.default_rng(1)
    difficulty = rng.normal(0, 1, (12, 1))
    had = rng.permuted(np.tile([True, False], (12, 10)), axis=1)
    confidence = 1 / (1 + np.exp(-(difficulty + 3 * had + rng.normal(0, 0.3, had.shape))))
    fitted = {"dice": confidence, "cross_entropy": -np.log(confidence / 1e3)}
    return Shadows(had, fitted, confidence), difficulty[:, 0]


@pytest.mark.parametrize(
    ("shift", "lira", "rmia"), [(3, (1, 1), (0.85, 1)), (0, (0.1, 0.9), (0.1, 0.9)), (-3, (0, 0.2), (0, 0.2))]
)
def test_attacks_with_shadows_see_members_under_unequal_difficulty(references, shadows, shift, lira, rmia):
    worlds, difficulty = shadows
    logits = difficulty + np.repeat([shift, 0], 6) + np.random.default_rng(2).normal(0, 0.3, 12)
    confidence = 1 / (1 + np.exp(-logits))
    loss = -np.log(confidence / 1e3)
    forget, heldout = (scores(np.full(6, 0.65), loss[part], confidence[part]) for part in (slice(6), slice(6, 12)))
    found = conclude(Examined(forget, heldout, {}), references, worlds)
    for name, (least, most) in (("lira_auc", lira), ("rmia_auc", rmia)):
        assert least <= found[name] <= most
        assert (found[f"{name}_p"] < 0.05) == (shift != 0)


def test_rmia_compares_with_the_held_out_subjects_only(references, shadows):
    worlds, _ = shadows
    loss = np.random.default_rng(4).uniform(7, 9, 12)
    forget, heldout = (scores(np.full(6, 0.65), loss[part]) for part in (slice(6), slice(6, 12)))
    found = conclude(Examined(forget, heldout, {}), references, worlds)
    ratios = np.exp(-loss) / np.exp(-worlds.fitted["cross_entropy"]).mean(1)
    shares = [np.mean([ratios[x] >= ratios[z] for z in range(6, 12)]) for x in range(6)]
    assert found["rmia_auc"] == pytest.approx(np.mean(shares))


def test_each_forget_subject_has_a_place_among_networks_that_never_saw_it_and_that_did(references, shadows):
    worlds, _ = shadows
    mine, baseline = network(retrained(0.65, 9)), network(np.full(6, 0.92))
    found = concluding.conclude(Findings(mine, references, {"baseline": baseline}, worlds), TERMS).places
    assert {name: len(places) for name, places in found.items()} == {"dice": 6, "loss": 6, "confidence": 6}
    without = concluding.conclude(Findings(mine, references, {"baseline": baseline}), TERMS).places
    assert without.keys() == {"dice", "loss"}
    had = worlds.had[:6, ~worlds.had[6:].all(0)]  # who had all the others has no level
    for number in range(6):
        inside, outside = (np.count_nonzero(some[number]) for some in (had, ~had))
        counts = [(place.above_never_seen[1], place.above_seen[1]) for place in (p[number] for p in found.values())]
        assert counts == [(3 + outside, 1 + inside)] * 2 + [(outside, inside)]
        # The references hold out the same people with the same Dice, so all are at one level.
        others = [other.forget["dice"][number] for other in references.values()]
        dice, loss = (without[name][number] for name in ("dice", "loss"))
        assert dice.value == pytest.approx(1 - loss.value) == mine.forget["dice"][number]
        assert dice.never_seen == pytest.approx((min(others), max(others)))
        assert loss.never_seen == pytest.approx((1 - max(others), 1 - min(others)))  # the loss here is 1 - Dice
        assert dice.seen == pytest.approx((0.92, 0.92))
        assert dice.above_never_seen == loss.above_never_seen == (sum(dice.value > np.array(others)), 3)
        assert dice.above_seen == (0, 1)
    itself = concluding.conclude(Findings(baseline, references, {"baseline": baseline}), TERMS).places["loss"]
    assert {(place.above_never_seen, place.above_seen) for place in itself} == {((3, 3), (0, 0))}


def test_further_draws_are_pooled(references):
    rng = np.random.default_rng(3)
    draws = [comparisons(rng.normal(1, 1, 6), rng.normal(0, 1, 6)) for _ in range(5)]
    found = conclude(network(retrained(0.65, 8)), references, draws=draws)
    assert found["pooled_auc"] == pytest.approx(np.mean(draws))


def test_too_few_references_conclude_nothing(references):
    for few in ({}, {"retrained": references["retrained"]}):
        found = conclude(network(np.full(6, 0.92)), few)
        assert math.isnan(found["subject_gap"]) == (not few)
        assert found["loss_auc"] == 1


@pytest.mark.parametrize(("forget", "heldout"), [(1, 1), (1, 3), (3, 1)])
def test_a_single_subject_on_a_side_is_concluded_on_too(forget, heldout):
    few = {str(seed): network(retrained(0.65, seed, forget), [0.6] * heldout) for seed in range(3)}
    found = conclude(network([0.1] * forget, [0.6] * heldout), few)
    assert found["loss_auc"] == 0
    assert math.isnan(found["probe_auc"])


def test_undefined_dice_is_passed_over(references):
    mine = network([0.7, np.nan, 0.8, 0.5, 0.9, 0.65])
    found = conclude(mine, references)
    assert found["subject_gap"] < 0.5
    assert math.isfinite(found["equivalence_p"])


def test_a_measure_is_the_mean_of_what_is_defined_and_infinite_if_one_never_ends(references):
    mine = network(retrained(0.65, 3), relearn_steps=[2.0, math.inf], resurfaced_dice=[0.4, math.nan])
    found = conclude(mine, references)
    assert found["relearn_steps"] == math.inf
    assert found["resurfaced_dice"] == 0.4
    never = {name: network(retrained(0.65, 4), relearn_steps=math.inf) for name in references}
    found = conclude(network(retrained(0.65, 3)), never)
    assert found["relearn_steps_retrained"] == math.inf
    assert "resurfaced_dice" not in found  # it was not taken
    nobody = conclude(network(retrained(0.65, 3), relearn_steps=math.nan), never)
    assert math.isnan(nobody["relearn_steps"])


def test_a_reference_without_a_measure_leaves_the_others_average(references):
    first, *_ = references
    few = references | {first: references[first]._replace(measures={})}
    assert conclude(network(retrained(0.65, 3)), few)["relearn_steps_retrained"] == pytest.approx(6.5)


def test_a_conclusion_that_fails_leaves_its_own_columns_empty_and_says_why(references, monkeypatch):
    broken = Conclusion(lambda findings: {"broken": 1 / 0}, {"broken": EvidenceColumn()})
    every = {"broken": broken, **conclusions()}
    mine = network([0.7, 0.6, 0.8, 0.5, 0.9, 0.65])
    expected = conclude(mine, references)
    monkeypatch.setattr(concluding, "conclusions", lambda: every)
    evidence = concluding.conclude(Findings(mine, references, {}), TERMS)
    assert evidence.problems == {"broken": "ZeroDivisionError: division by zero"}
    assert evidence.columns == pytest.approx(expected, nan_ok=True)


def test_the_conclusions_fill_their_columns_and_the_tables_hold_them(references, shadows, tmp_path):
    draws = [comparisons(np.ones(6), np.zeros(6))]
    found = conclude(
        network(retrained(0.65, 7), resurfaced_dice=0.5, change=[1.0] * 12), references, shadows[0], draws
    )
    filled = {name for conclusion in conclusions().values() for name in conclusion.columns}
    measures = "relearn_steps", "resurfaced_dice", "change"
    measured = {f"{name}{end}" for name in measures for end in ("", "_retrained")}
    assert found.keys() == filled | measured | {*VERDICT_COLUMNS}  # without a baseline there is no residual
    columns = all_columns()
    table = references_table(tmp_path, evidence=columns)
    empty = dict.fromkeys(table.schema.names)
    few = conclude(network([0.5, 0.6]), {})
    table.upsert([{**empty, "id": "full", **found}, {**empty, "id": "few", **few}])
    full, few = references_table(tmp_path, evidence=columns).rows
    assert {name: full[name] for name in found} == pytest.approx(found, nan_ok=True)
    assert few["lira_auc"] is None
