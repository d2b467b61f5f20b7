"""The table of a suite and its tests against values taken from the single subjects by hand."""

from dataclasses import replace
from itertools import product
from statistics import fmean

import numpy as np
import pandas as pd
import pytest

from analysis.figures.charts import suite_figure
from analysis.reports.tables import terminal_suite, write_suite
from analysis.statistics.recipes import entries as ranking_entries
from analysis.statistics.recipes import ranking, suite_table, suite_tests

METRICS = (
    *("retain_dice", "forget_dice", "dice_gap", "retain_mae", "forget_mae", "mae_gap"),
    *("retention", "heldout_dice", "retrain_gap"),
)
RETAIN, FORGET, HELDOUT = ("r1", "r2", "r3"), ("f1", "f2"), ("h1", "h2")
BEHIND = {  # (strategy, horizon) -> the trials behind the row and the epoch that counts
    ("noisy_label", 2): {"n0": 2, "n1": 2, "n2": 2},
    ("noisy_label", 4): {"n0": 4, "n1": 4, "n2": 4},
    ("max_loss", 2): {"m0": 2, "m1": 2},
    ("max_loss", 4): {"m0": 4, "m1": 3},  # m1 diverged in epoch 3, m2 still runs
}


def by_hand(values, epochs):
    def mean(subjects, metric, networks=epochs):
        return fmean(values[id, epoch, subject][metric] for id, epoch in networks.items() for subject in subjects)

    retain, forget, heldout = (mean(subjects, 0) for subjects in (RETAIN, FORGET, HELDOUT))
    retain_mae, forget_mae = mean(RETAIN, 1), mean(FORGET, 1)
    baseline = mean(RETAIN, 0, {"baseline": 60})
    retrained = mean(FORGET, 0, {"retrained": 60, "retrained-1": 60})
    found = (retain, forget, retain - forget, retain_mae, forget_mae, forget_mae - retain_mae)
    return dict(zip(METRICS, (*found, retain / baseline, heldout, abs(forget - retrained)), strict=True))


def test_rows_are_means_over_seeds_and_subjects_at_their_horizon(suite_study, values):
    table = suite_table(suite_study())
    assert list(zip(table["strategy"], table["horizon"], strict=True)) == list(BEHIND)
    for row, epochs in zip(table.to_dict("records"), BEHIND.values(), strict=True):
        assert {name: row[name] for name in METRICS} == pytest.approx(by_hand(values, epochs))
        assert all(row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] for name in METRICS)
        assert row["seeds"] == len(epochs)
    assert table["diverged"].tolist() == [0, 0, 0, 1]


def test_retention_is_paired_with_the_baseline_of_the_same_subjects(suite_study, values):
    def nine_tenths(row):
        return (
            row
            if row["set"] != "retain" or row["epoch"] == 60
            else row | {"dice": 0.9 * values["baseline", 60, row["subject"]][0]}
        )

    row = suite_table(suite_study(nine_tenths)).iloc[0]
    assert (row["retention"], row["retention_low"], row["retention_high"]) == pytest.approx((0.9, 0.9, 0.9))
    assert row["retain_dice_high"] - row["retain_dice_low"] > 0.01


def test_only_reported_references_count(suite_study, values, record):
    chosen = record["selection"] | {"steering_references": ["retrained"], "report_references": ["retrained-1"]}
    row = suite_table(suite_study(selection=chosen)).iloc[0]
    expected = fmean(values["retrained-1", 60, one][0] for one in FORGET)
    assert row["retrain_gap"] == pytest.approx(abs(row["forget_dice"] - expected))


def test_a_recipe_without_an_ended_trial_has_no_row(suite_study):
    table = suite_table(suite_study(trial=lambda row: row | {"status": "running"} if row["id"][0] == "m" else row))
    assert table["strategy"].tolist() == ["noisy_label"] * 2


def test_the_files_have_the_documented_columns(suite_study, tmp_path, values):
    study = suite_study()
    write_suite(study, tmp_path)
    table, tests = pd.read_csv(tmp_path / "paper_table.csv"), pd.read_csv(tmp_path / "paper_tests.csv")
    bounded = [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    published = ["published_retain_dice", "published_forget_dice", "published_dice_gap"]
    assert list(table) == ["recipe", "strategy", "horizon", *bounded, "price", "seeds", "diverged", *published]
    assert list(tests) == ["horizon", "metric", "first", "second", "runs", "difference", "p", "p_holm", "smallest_p"]
    assert table.loc[1, published].tolist() == pytest.approx([0.7576, 0.0613, 0.6963])
    assert table.loc[[0, 2, 3], published].isna().all(axis=None)
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == [
        *("paper_table.csv", "paper_table.html", "paper_table.md", "paper_tests.csv")
    ]
    lines = (tmp_path / "paper_table.md").read_text().splitlines()
    assert [line.count("|") for line in lines[:6]] == [14] * 6
    gap = by_hand(values, BEHIND["noisy_label", 4])["dice_gap"]
    assert "| noisy_label | 4 |" in lines[3]
    assert f"{gap:.3f} [" in lines[3]
    assert "0.758 / 0.061 / 0.696" in lines[3]
    assert "over 3 seeds and 3 retain, 2 forget, 2 held-out subjects" in lines[-1]
    assert "p cannot fall below 0.25, so no test between recipes can reach 0.05" in lines[-1]


def enumerated(differences):
    sums = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return np.mean([one >= abs(sum(differences)) - 1e-12 for one in sums])


def test_sign_flips_are_over_the_seeds(suite_study, values):
    tests = suite_tests(suite_study())
    assert list(zip(tests["horizon"], tests["metric"], strict=True)) == list(
        product((2, 4), ("retain_dice", "forget_dice", "heldout_dice"))
    )
    for row in tests.to_dict("records"):
        subjects = {"retain_dice": RETAIN, "forget_dice": FORGET, "heldout_dice": HELDOUT}[row["metric"]]
        ours, theirs = (BEHIND[row[which], row["horizon"]] for which in ("first", "second"))
        differences = [
            fmean(values[f"n{seed}", ours[f"n{seed}"], one][0] for one in subjects)
            - fmean(values[f"m{seed}", theirs[f"m{seed}"], one][0] for one in subjects)
            for seed in (0, 1)
        ]
        assert (row["runs"], row["smallest_p"]) == (2, 0.5)  # of the seeds that both have
        assert row["difference"] == pytest.approx(np.mean(differences))
        assert row["p"] == pytest.approx(enumerated(differences))
        assert row["p_holm"] == row["p"]  # one pair


def test_recipes_are_paired_by_the_seed_not_by_their_place(suite_study, values):
    study = suite_study(trial=lambda row: row | {"status": "running"} if row["id"] == "n0" else row)
    tests = suite_tests(study)
    row = tests[(tests["metric"] == "forget_dice") & (tests["horizon"] == 2)].iloc[0]
    assert row["runs"] == 1  # n1 and m1; n2 and m0 have no partner
    assert row["difference"] == pytest.approx(
        fmean(values["n1", 2, one][0] - values["m1", 2, one][0] for one in FORGET)
    )


def test_pairs_are_in_the_order_of_the_suite_whichever_trial_was_recorded_first(suite_study):
    study = suite_study()
    tests = suite_tests(replace(study, subjects=study.subjects[::-1], trials=study.trials[::-1]))
    assert tests[["first", "second"]].drop_duplicates().to_numpy().tolist() == [["noisy_label", "max_loss"]]


def test_p_values_are_corrected_over_the_pairs_of_a_horizon_and_metric(suite_study, record):
    entries = [{"strategy": name, "knobs": {}, "published": {}} for name in ("noisy_label", "max_loss", "finetune")]
    study = suite_study(
        trial=lambda row: row | {"strategy": "finetune", "seed": 0} if row["id"] == "n2" else row,
        suite=record["suite"] | {"entries": entries, "horizons": [4]},
    )
    tests = suite_tests(study)
    assert len(tests) == 3 * 3
    for _, pairs in tests.groupby("metric"):
        ordered = pairs.sort_values("p")
        expected = np.minimum(1, np.maximum.accumulate(ordered["p"].to_numpy() * [3, 2, 1]))
        np.testing.assert_allclose(ordered["p_holm"], expected)
        assert len(ordered) == 3


def test_an_undefined_subject_leaves_the_tests_and_the_mean(suite_study, values):
    study = suite_study(
        lambda row: row | {"dice": float("nan")} if (row["id"], row["subject"]) == ("n0", "f1") else row
    )
    row = suite_tests(study).set_index(["horizon", "metric"]).loc[2, "forget_dice"]
    first = values["n0", 2, "f2"][0] - values["m0", 2, "f2"][0]
    second = fmean(values["n1", 2, one][0] - values["m1", 2, one][0] for one in FORGET)
    assert row["difference"] == pytest.approx((first + second) / 2)
    kept = [values[id, 2, one][0] for id in ("n0", "n1", "n2") for one in FORGET if (id, one) != ("n0", "f1")]
    assert suite_table(study).loc[0, "forget_dice"] == pytest.approx(fmean(kept))


def test_one_unit_that_two_recipes_share_is_no_error(suite_study):
    """One forget subject and one seed, as --seeds 1 on a cohort of seven gives it."""
    study = suite_study(trial=lambda row: row | {"status": "running"} if row["seed"] else row)
    study = replace(study, subjects=study.subjects[study.subjects["subject"] != "f2"])
    tests = suite_tests(study)
    assert tests[tests["metric"] == "forget_dice"][["runs", "p"]].to_numpy().tolist() == [[1, 1], [1, 1]]


def test_the_figure_has_the_means_their_bounds_and_the_references(suite_study):
    study = suite_study()
    table = suite_table(study)
    for trace in suite_figure(study, table).data:
        column = trace.name.replace("held-out", "heldout").replace(" ", "_").lower()
        assert list(trace.x) == ["baseline", "retrained", *(f"{strategy}, {horizon}" for strategy, horizon in BEHIND)]
        assert trace.y[0] == study.reference("baseline")[column]
        np.testing.assert_allclose(trace.y[2:], table[column])
        np.testing.assert_allclose(np.add(trace.y, trace.error_y.array)[2:], table[f"{column}_high"])
        np.testing.assert_allclose(np.subtract(trace.y, trace.error_y.arrayminus)[2:], table[f"{column}_low"])
        assert trace.error_y.array[:2] == trace.error_y.arrayminus[:2] == (0, 0)


def test_the_page_shows_names_as_text(suite_study, tmp_path, record, page_of):
    entries = [entry | {"strategy": "<marquee>"} for entry in record["suite"]["entries"][:1]]
    study = suite_study(
        trial=lambda row: row | {"strategy": "<marquee>"},
        name="<blink>",
        suite=record["suite"] | {"entries": entries},
    )
    write_suite(study, tmp_path)
    page = (tmp_path / "paper_table.html").read_text()
    tags = {tag for tag, _ in page_of(page).tags}
    assert {"table", "title", "script"} <= tags
    assert not {"marquee", "blink"} & tags
    assert "<td>&lt;marquee&gt;</td>" in page


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_has_a_line_per_row(suite_study, values, width, printed):
    text = printed(terminal_suite(suite_study()), width)
    lines = [line.split() for line in text.splitlines() if line.strip().startswith(("noisy_label", "max_loss"))]
    assert len(lines) == 4
    for line, (key, epochs) in zip(lines, BEHIND.items(), strict=True):
        means = by_hand(values, epochs)
        assert line[:3] == [key[0], str(key[1]), f"{means['dice_gap']:.3f}"]
        names = ("retain_dice", "forget_dice", "retention", "heldout_dice")
        assert line[-5:-1] == [f"{means[name]:.3f}" for name in names]
    assert all(len(line) <= width for line in text.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "labels"),
    [
        (
            {"lr": 1e-3, "noise_rate": 0.9},
            {"lr": 1e-3, "noise_rate": 0.5},
            ["noisy_label, noise_rate 0.9", "noisy_label, noise_rate 0.5"],
        ),
        ({"lr": 1e-3, "noise_rate": 0.9}, {"lr": 1e-3}, ["noisy_label, noise_rate 0.9", "noisy_label"]),
    ],
)
def test_two_recipes_of_one_strategy_are_apart_wherever_they_stand(
    first, second, labels, suite_study, record, values, tmp_path, printed
):
    known = {"4": {"retain_dice": 0.7, "forget_dice": 0.1, "source": ""}}
    entries = [{"strategy": "noisy_label", "knobs": first, "published": {}}]
    entries.append({"strategy": "noisy_label", "knobs": second, "published": known})
    own = {"strategy": "noisy_label", "noise_rate": second.get("noise_rate")}
    study = suite_study(
        trial=lambda row: row | own if row["id"][0] == "m" else row, suite=record["suite"] | {"entries": entries}
    )
    table = suite_table(study)
    assert list(zip(table["recipe"], table["horizon"], strict=True)) == list(product(labels, (2, 4)))
    assert set(table["strategy"]) == {"noisy_label"}
    for row, epochs in zip(table.to_dict("records"), BEHIND.values(), strict=True):
        assert {name: row[name] for name in METRICS} == pytest.approx(by_hand(values, epochs))
    assert table["published_retain_dice"].notna().tolist() == [False, False, False, True]
    tests = suite_tests(study)
    assert tests[["first", "second"]].drop_duplicates().to_numpy().tolist() == [labels]
    assert tests["p_holm"].tolist() == suite_tests(suite_study())["p_holm"].tolist()
    ranked = ranking(ranking_entries([study]))
    assert dict(zip(ranked["recipe"], ranked["runs"], strict=True)) == dict(zip(labels, (3, 2), strict=True))
    (figure, *_) = suite_figure(study, table).data
    assert figure.x[2:] == tuple(f"{label}, {horizon}" for label, horizon in product(labels, (2, 4)))
    write_suite(study, tmp_path)
    assert pd.read_csv(tmp_path / "paper_table.csv")["recipe"].tolist() == table["recipe"].tolist()
    assert all(label in printed(terminal_suite(study), 140) for label in labels)
