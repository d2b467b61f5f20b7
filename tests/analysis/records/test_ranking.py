"""Strategies ranked and tested in pairs, against values taken from the single subjects by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.statistics.recipes import entries, paired_tests, ranking
from analysis.statistics.significance import holm
from study.records.metrics import METRICS, metric_table, of_scans

ENDED = {"n0": 4, "m0": 4, "n1": 4, "m1": 3, "n2": 4}
SETS = {"retain": 4, "forget": 3, "heldout": 2}
COLUMNS = ["set", "subject", "dice", "recipe", "run", "study", "trial"]


@pytest.fixture
def seeded(suite_study, record):
    """A study with a seed; keywords as of `suite_study`."""

    def read(seed, objective="gap", **changes):
        settings = record["settings"] | {"seed": seed, "objective": objective}
        return suite_study(settings=settings, **changes)

    return read


def drawn(effects, runs=3, spread=0.05, seed=0):
    """As `entries` gives them: strategies whose Dice is (retain, forget, held-out) and noise."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"set": name, "subject": f"{name}-{subject}", "dice": levels[place] + rng.normal(0, spread)}
        | {"recipe": strategy, "run": str(run), "study": "s", "trial": f"{strategy}-{run}"}
        for strategy, levels in effects.items()
        for run in range(runs)
        for place, (name, count) in enumerate(SETS.items())
        for subject in range(count)
    )


EFFECTS = {"middling": (0.8, 0.3, 0.6), "poor": (0.6, 0.4, 0.5), "good": (0.85, 0.1, 0.6)}


def test_all_ended_trials_of_a_suite_stand_for_their_strategies(seeded, values):
    found = entries([seeded(5)])
    assert list(found) == COLUMNS
    assert {(row.trial, row.recipe, row.run) for row in found.itertuples()} == {
        (id, "noisy_label" if id[0] == "n" else "max_loss", f"5/{id[1]}") for id in ENDED
    }
    assert set(found["study"]) == {"suite-phantom"}
    assert len(found) == 7 * len(ENDED)
    for row in found.itertuples():
        assert row.dice == values[row.trial, ENDED[row.trial], row.subject][0]
        assert row.subject[0] == row.set[0]


@pytest.mark.parametrize(("objective", "best"), [("gap", {"n1", "m1"}), ("retrain", {"n2", "m1"})])
def test_the_best_feasible_trial_of_each_search_stands_for_its_strategy(seeded, values, objective, best):
    gaps = {"n0": 0.9, "n1": 0.4, "n2": 0.3, "m0": 0.8, "m1": 0.1}  # n0 and m0 are not feasible
    distances = {"n0": 0.0, "n1": 0.2, "n2": 0.1, "m0": 0.0, "m1": 0.3}

    def scored(row):
        row = row | {"feasible": row["id"] in ("n1", "n2", "m1")}
        return row | {"dice_gap": gaps.get(row["id"]), "retrain_gap": distances.get(row["id"])}

    studies = [seeded(seed, objective, suite={}, trial=scored, name=f"study-{seed}") for seed in (0, 7)]
    found = entries(studies)
    assert set(zip(found["study"], found["run"], found["trial"], strict=True)) == {
        (f"study-{seed}", str(seed), id) for seed in (0, 7) for id in best
    }
    assert all(row.dice == values[row.trial, ENDED[row.trial], row.subject][0] for row in found.itertuples())


def test_a_search_without_a_feasible_trial_has_no_entry(seeded):
    study = seeded(0, suite={}, trial=lambda row: row | {"feasible": row["id"] == "m0"})
    assert set(entries([study])["recipe"]) == {"max_loss"}
    for nothing in ([], [seeded(0, suite={}, trial=lambda row: row | {"feasible": False})]):
        found = entries(nothing)
        assert list(found) == COLUMNS
        assert found.empty
        assert ranking(found).empty
        assert paired_tests(found).empty


def test_strategies_are_ranked_by_the_mean_gap(seeded):
    chosen = drawn(EFFECTS)
    table = ranking(chosen)
    bounded = [f"{name}{end}" for name in ("retain_dice", "forget_dice", "dice_gap") for end in ("", "_low", "_high")]
    assert list(table) == ["rank", "recipe", "runs", *bounded]
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["recipe"].tolist() == ["good", "middling", "poor"]
    assert table["runs"].tolist() == [3, 3, 3]
    for row in table.itertuples():
        own = chosen[chosen["recipe"] == row.recipe]
        retain, forget = (own[own["set"] == name]["dice"].mean() for name in ("retain", "forget"))
        assert (row.retain_dice, row.forget_dice, row.dice_gap) == pytest.approx((retain, forget, retain - forget))
    shuffled = ranking(chosen.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(shuffled, table)


def test_a_metric_that_the_studies_add_is_ranked_and_tested_like_the_dice():
    values = drawn(EFFECTS)
    values = values.assign(error=2 * values["dice"])
    metrics = METRICS | metric_table(of_scans("error", "error", "", -1, 0, 2))
    table, tests = ranking(values, metrics), paired_tests(values)
    for name in ("retain", "forget"):
        for end in ("", "_low", "_high"):
            np.testing.assert_allclose(table[f"{name}_error{end}"], 2 * table[f"{name}_dice{end}"])
    alone = ranking(values.drop(columns="error"))
    pd.testing.assert_frame_equal(table[list(alone)], alone)
    dice, error = (tests[tests["metric"].str.endswith(name)].reset_index() for name in ("dice", "error"))
    np.testing.assert_allclose(error["difference"], 2 * dice["difference"])
    np.testing.assert_allclose(error["p"], dice["p"])


def test_intervals_are_of_runs_and_the_subjects_of_both_sets():
    values = drawn({"one": (0.8, 0.3, 0.6)}, runs=4, spread=0.1)
    (row,) = ranking(values).to_dict("records")
    parts = []
    retain, forget = (
        values[values["set"] == name].pivot(index="run", columns="subject", values="dice")
        for name in SETS
        if name != "heldout"
    )
    for means in (retain.mean(axis=1) - forget.mean(axis=1), retain.mean(), forget.mean()):
        parts.append(stats.t.ppf(0.975, len(means) - 1) * stats.sem(means))
    half = np.linalg.norm(parts) / (1 - row["dice_gap"] ** 2)  # on the scale of Fisher's z
    expected = np.tanh(np.arctanh(row["dice_gap"]) + np.array([-half, half]))
    assert (row["dice_gap_low"], row["dice_gap_high"]) == pytest.approx(expected)


def test_undefined_subjects_leave_the_mean_and_their_run_its_test():
    chosen = drawn(EFFECTS)
    chosen.loc[(chosen["recipe"] == "good") & (chosen["subject"] == "forget-1") & (chosen["run"] == "2"), "dice"] = (
        np.nan
    )
    own = chosen[(chosen["recipe"] == "good") & (chosen["set"] == "forget")]
    table = ranking(chosen).set_index("recipe")
    assert table.loc["good", "forget_dice"] == pytest.approx(np.nanmean(own["dice"]))
    tests = paired_tests(chosen).set_index(["metric", "first", "second"])
    both = chosen.pivot(index=["set", "run", "subject"], columns="recipe", values="dice").loc["forget"].dropna()
    by_run = (both["middling"] - both["good"]).groupby("run").mean()
    assert tests.loc[("forget_dice", "middling", "good"), "difference"] == pytest.approx(by_run.mean())


def test_paired_tests_are_scipys_on_the_means_of_runs():
    chosen = drawn({name: (*levels[:2], 0.55) for name, levels in EFFECTS.items()}, runs=7, spread=0.1)
    found = paired_tests(chosen.sample(frac=1, random_state=1).sort_values("recipe", kind="stable"))
    assert list(found) == ["metric", "first", "second", "runs", "difference", "p", "p_holm", "smallest_p"]
    pairs = [("good", "middling"), ("good", "poor"), ("middling", "poor")]
    assert list(zip(found["metric"], found["first"], found["second"], strict=True)) == [
        (f"{name}_dice", *pair) for name in SETS for pair in pairs
    ]
    for row in found.itertuples():
        own = chosen[chosen["set"] == row.metric.removesuffix("_dice")]
        means = own.groupby(["recipe", "run"])["dice"].mean()
        expected = stats.permutation_test(
            (means[row.first], means[row.second]),
            lambda a, b: np.mean(a) - np.mean(b),
            permutation_type="samples",
            n_resamples=np.inf,
        )
        assert (row.runs, row.smallest_p) == (7, 2 / 2**7)
        assert row.difference == pytest.approx(expected.statistic)
        assert row.p == pytest.approx(expected.pvalue)
    for _, tests in found.groupby("metric"):
        np.testing.assert_allclose(tests["p_holm"], holm(tests["p"].to_numpy()))
    assert found["p"].max() > 0.1 > 0.02 > found["p"].min() == 2 / 2**7


@pytest.mark.slow
def test_networks_that_differ_by_their_seed_alone_seldom_differ_significantly():
    """Subjects do not make up for networks: over subject and seed, 0.4 of these p would lie below 0.05."""
    rng, p_values = np.random.default_rng(0), []
    for _ in range(100):
        values = drawn({"one": (0.8, 0.3, 0.6), "same": (0.8, 0.3, 0.6)}, runs=6)
        networks = values.groupby(["recipe", "run"])["dice"].transform(lambda own: rng.normal(0, 0.05))
        p_values += paired_tests(values.assign(dice=values["dice"] + networks))["p"].tolist()
    assert np.mean(np.array(p_values) < 0.05) < 0.06


def test_only_what_both_strategies_have_is_paired():
    chosen = drawn(EFFECTS)
    chosen = chosen[~((chosen["recipe"] == "poor") & (chosen["run"] != "1"))]  # one run
    chosen = chosen[~((chosen["recipe"] == "good") & (chosen["run"] == "1"))]  # the other two
    found = paired_tests(chosen).set_index(["metric", "first", "second"])
    assert not any({first, second} == {"poor", "good"} for _, first, second in found.index)
    row = found.loc[("retain_dice", "middling", "poor")]
    units = chosen[(chosen["run"] == "1") & (chosen["set"] == "retain")].pivot(
        index="subject", columns="recipe", values="dice"
    )
    assert (row["runs"], row["p"], row["smallest_p"]) == (1, 1, 1)
    assert row["difference"] == pytest.approx((units["middling"] - units["poor"]).mean())
    assert found.loc[("forget_dice", "middling", "good"), "runs"] == 2


def test_one_strategy_has_nothing_to_be_tested_against():
    assert paired_tests(drawn({"one": (0.8, 0.3, 0.6)})).empty
