"""What a study with evidence leaves behind, and what it does when it is asked again."""

import json
import shutil
from html import escape
from itertools import product
from statistics import fmean

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from safetensors.numpy import save_file

from analysis.report import main as report
from study.evidence.columns import all_columns
from study.export import main as export

pytestmark = pytest.mark.slow

JUDGES = ["retrained-1", "retrained-2", "retrained-3"]
REFERENCES = ["baseline", "retrained", *JUDGES]
COLUMNS = list(all_columns())
AUCS = ("loss_auc", "dice_auc", "lira_auc", "rmia_auc", "pooled_auc", "probe_auc")
WITHOUT_TRIAL = {"pooled_auc"}  # draws need a recipe


def found_of(examined):
    """Evidence of everything, by id."""
    columns = ["id", "forget_dice", *COLUMNS]
    return pd.concat([examined.table(name)[columns] for name in ("references", "trials")]).set_index("id")


def details(examined, name):
    return json.loads((examined.folder / "evidence" / f"{name}.json").read_text())


def mtimes(examined):
    files = [
        *examined.folder.glob("evidence/*"),
        *examined.folder.glob("front/*/*"),
        *examined.cache.glob("references/*/*"),
    ]
    return {path: path.stat().st_mtime_ns for path in files}


def test_references_and_picks_have_every_column_and_others_none(examined):
    found = found_of(examined)
    assert found.index.tolist()[:5] == REFERENCES
    whom = [*REFERENCES, examined.front]
    assert found.loc[examined.other, COLUMNS].isna().all()
    assert found.loc[whom, "evidence"].nunique() == 1
    assert set(found.columns[found.loc[REFERENCES].isna().all()]) == WITHOUT_TRIAL
    bounds = {"memory_left", "memory_of_one"}  # where no measure sees a memory there is none
    assert found.loc[examined.front, [name for name in COLUMNS if name not in bounds]].notna().all()
    assert (
        found.loc[REFERENCES, [name for name in COLUMNS if name not in WITHOUT_TRIAL | bounds]].notna().all(axis=None)
    )
    assert sorted(path.stem for path in (examined.folder / "evidence").iterdir()) == sorted(whom)
    assert found.loc[examined.front, list(AUCS)].between(0, 1).all()


def test_the_residual_compares_with_what_judges_and_baseline_give_for_the_same_subjects(examined):
    told = {name: details(examined, name) for name in [*REFERENCES, examined.front]}
    dice = {
        name: [fmean(one["dice"] for one in network[subset].values()) for subset in ("forget", "heldout")]
        for name, network in told.items()
    }
    found, apart = found_of(examined), {name: forget - heldout for name, (forget, heldout) in dice.items()}
    for name in ("retrained", examined.front):
        never = fmean(apart[judge] for judge in JUDGES)
        assert found.dice_residual[name] == pytest.approx(
            (apart[name] - never) / (apart["baseline"] - never), abs=1e-6
        )
        low, high = found.loc[name, ["dice_residual_low", "dice_residual_high"]]
        assert low <= found.dice_residual[name] <= high


def test_the_details_are_the_recorded_subjects_and_carry_the_gaps(examined):
    found, subjects = found_of(examined), examined.table("subjects")
    for name in [*REFERENCES, examined.front]:
        told = details(examined, name)
        for subset in ("forget", "heldout"):
            rows = subjects[(subjects.id == name) & (subjects["set"] == subset)].set_index("subject")
            assert {who: one["dice"] for who, one in told[subset].items()} == pytest.approx(
                rows.dice.to_dict(), abs=1e-5
            )
            for one in told[subset].values():
                assert one["dice"] == pytest.approx(fmean(one["classes"].values()), abs=1e-6)
                assert set(one["classes"]) == set(examined.record["cohort"]["classes"][1:])
        assert sorted(told["retrained"]) == sorted({*JUDGES} - {name})
        others = told["retrained"].values()
        far = [abs(one["dice"] - fmean(o[who]["dice"] for o in others)) for who, one in told["forget"].items()]
        assert found.subject_gap[name] == pytest.approx(max(far), abs=1e-6)
        by_class = [
            abs(
                fmean(
                    one["classes"][c] - fmean(o[who]["classes"][c] for o in others)
                    for who, one in told["forget"].items()
                )
            )
            for c in examined.record["cohort"]["classes"][1:]
        ]
        assert found.class_gap[name] == pytest.approx(max(by_class), abs=1e-6)


def test_each_forget_subject_has_its_place_among_the_networks_of_the_study(examined):
    told = details(examined, examined.front)
    assert told["places"].keys() == told["forget"].keys()
    shadows = int(examined.options[examined.options.index("--shadows") + 1])
    for who, scores in told["places"].items():
        assert [scores[name]["value"] for name in ("dice", "loss")] == [
            told["forget"][who][n] for n in ("dice", "loss")
        ]
        counts = {name: (one["above_never_seen"][1], one["above_seen"][1]) for name, one in scores.items()}
        half = shadows // 2
        assert counts == {"dice": (3 + half, 1 + half), "loss": (3 + half, 1 + half), "confidence": (half, half)}
        for one in scores.values():
            for above, count in (one["above_never_seen"], one["above_seen"]):
                assert 0 <= above <= count


@pytest.mark.parametrize(("column", "value", "sign"), [("dice_auc", "dice", 1), ("loss_auc", "loss", -1)])
def test_an_attack_is_the_chance_that_a_forget_subject_scores_higher(examined, column, value, sign):
    for name in [*REFERENCES, examined.front]:
        told = details(examined, name)
        pairs = list(
            product(*([sign * one[value] for one in told[subset].values()] for subset in ("forget", "heldout")))
        )
        wins = [1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs]
        assert found_of(examined)[column][name] == pytest.approx(fmean(wins))


def test_the_baseline_remembers_at_once_and_is_compared_with_what_retraining_gives(examined):
    found = found_of(examined)
    assert found.relearn_steps["baseline"] == 0
    others = found.loc[JUDGES]
    for column in ("relearn_steps", "resurfaced_dice"):
        assert found[f"{column}_retrained"][examined.front] == pytest.approx(others[column].mean())
    assert found.activation_distance[examined.front] > 0
    assert found.activation_distance_retrained[examined.front] == pytest.approx(
        others.activation_distance.mean(), abs=1e-6
    )


def test_mlflow_has_the_evidence_as_metrics(examined):
    client, found = MlflowClient(f"sqlite:///{examined.studies / 'mlflow.db'}"), found_of(examined)
    runs = client.search_runs([client.get_experiment_by_name("noisy_label-medicalnet").experiment_id])
    runs = {run.data.tags["name"]: run.data.metrics for run in runs}
    for name in [*REFERENCES, examined.front]:
        numbers = (
            found.loc[name]
            .drop(["evidence", "verdict", "reasons", "would_tell", "forget_dice"])
            .dropna()
            .astype(float)
        )
        numbers = numbers[numbers.abs() < float("inf")]
        assert {key: runs[name][f"evidence/{key}"] for key in numbers.index} == pytest.approx(numbers.to_dict())
    assert not any(key.startswith("evidence/") for key in runs[examined.other])


def test_terminal_mlflow_and_report_tell_the_same_verdict_and_why(examined, tmp_path):
    table, row = examined.output[examined.output.index("Evidence") :], examined.trials.loc[examined.front]
    client = MlflowClient(f"sqlite:///{examined.studies / 'mlflow.db'}")
    assert f"{examined.front} {row.verdict}: {row.reasons}" in table
    experiment = client.get_experiment_by_name("noisy_label-medicalnet").experiment_id
    tags = {run.data.tags["name"]: run.data.tags for run in client.search_runs([experiment])}
    assert (tags[examined.front]["evidence.verdict"], tags[examined.front]["evidence.reasons"]) == (
        row.verdict,
        row.reasons,
    )
    assert f"**{row.verdict}**: {row.reasons}" in tags["study"]["mlflow.note.content"]
    report(["s", "--studies", str(examined.studies), "--to", str(tmp_path)])
    assert escape(row.reasons) in (tmp_path / "report.html").read_text()
    for name in [*REFERENCES, examined.front]:
        assert any(line.startswith(f"{name} ") for line in table.splitlines())
    assert "OPTIMISTIC" not in examined.output


def test_nobody_is_named_anywhere(examined):
    """Neither in a table, nor in MLflow's database and artifacts, nor in a pickle of Tune."""
    files = [path for path in examined.studies.rglob("*") if path.is_file()]
    assert {"mlflow.db", "pareto.html", f"{examined.front}.json"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert not [name for name in examined.people if name.encode() in content or name in str(path)], path
    assert not [name for name in examined.people if name in examined.output]


@pytest.mark.soak
def test_asking_again_computes_nothing_and_asking_for_a_trial_examines_that_one_alone(examined, tmp_path):
    mine = examined.copied(tmp_path)
    before, found = mtimes(mine), found_of(mine)
    code, output = mine.again("--evidence")
    assert code == 0
    assert "fitted" not in output
    assert output.count("from the cache") == 5
    assert mtimes(mine) == before
    pd.testing.assert_frame_equal(found_of(mine), found)
    pd.testing.assert_frame_equal(mine.table("requests"), examined.table("requests"))

    code, output = mine.again("--evidence", "--examine", mine.other)
    assert code == 0
    later = mtimes(mine)
    assert {path: later[path] for path in before} == before
    assert {path.stem for path in later.keys() - before.keys()} == {mine.other}
    after = found_of(mine)
    assert after.loc[mine.other, ["verdict", "reasons", "dice_views", "lira_auc"]].notna().all()
    rest = found.index.drop(mine.other)
    pd.testing.assert_frame_equal(after.loc[rest], found.loc[rest], check_dtype=False)
    dice = mine.table("subjects").query("id == @mine.other and set == 'forget'").set_index("subject").dice
    again = {who: one["dice"] for who, one in details(mine, mine.other)["forget"].items()}
    assert again == pytest.approx(dice.to_dict(), abs=1e-4)  # its weights were not kept: it ran again


def test_an_unknown_trial_is_one_clear_error_before_any_compute(examined, tmp_path):
    mine = examined.copied(tmp_path)
    shutil.rmtree(mine.studies / "s" / "tune")
    before = {path: path.stat().st_mtime_ns for path in mine.studies.rglob("*")}
    code, output = mine.again("--examine", f"{mine.front}, nobody,nothing")
    assert code == 2
    assert output.splitlines() == ["error: --examine: study 's' has no finished trial nobody, nothing"]
    assert {path: path.stat().st_mtime_ns for path in mine.studies.rglob("*")} == before


@pytest.mark.soak
def test_a_network_that_cannot_be_measured_is_told_of_and_costs_no_other_its_evidence(examined, tmp_path):
    """A front file that is whole, but of no network of this study; other settings make all evidence due."""
    mine, before = examined.copied(tmp_path), found_of(examined)
    weights = mine.folder / "front" / mine.front / "weights.safetensors"
    save_file({"nothing": np.zeros(1)}, weights)
    code, output = mine.again("--evidence", "--shadows", "0", "--forget-draws", "0")
    assert code == 0
    (line,) = [line for line in output.splitlines() if "no evidence" in line]
    assert mine.front in line
    assert "Pareto front:" in output
    after = found_of(mine)
    assert (after.evidence[REFERENCES] != before.evidence[REFERENCES]).all()
    assert after.lira_auc[REFERENCES].isna().all()
    assert after.evidence[mine.front] == before.evidence[mine.front]  # still due


@pytest.mark.soak
def test_one_subject_a_side_is_enough_to_run_and_what_is_optimistic_is_said(examined, run_of, tmp_path):
    cohort = examined.options[examined.options.index("--cohort") + 1]
    options = ("--space", "noisy_label", "--cohort", cohort, "--name", "s", "--studies", str(tmp_path))
    options += ("--objective", "unseen", "--forget-count", "1", "--heldout-count", "1", "--references", "1")
    options += (
        "--baseline-epochs",
        "2",
        "--shadows",
        "0",
        "--trials",
        "1",
        "--epochs",
        "1",
        "--retain-floor",
        "0.01",
    )
    code, output = run_of(examined.cache, *options)
    assert code == 0
    warnings = [line for line in output.splitlines() if line.startswith("OPTIMISTIC")]
    record = json.loads((tmp_path / "s/study.json").read_text())
    assert record["selection"]["warnings"] == warnings
    assert (
        record["selection"]["steering_heldout"] == record["selection"]["report_heldout"] == record["split"]["heldout"]
    )
    found = pd.read_parquet(tmp_path / "s/trials").iloc[0]
    assert found.verdict == "cannot tell"
    assert found.evidence

    assert (
        export(
            [
                "--study",
                "s",
                "--studies",
                str(tmp_path),
                "--to",
                str(tmp_path / "out"),
                "--allow-infeasible",
                "--trial",
                found.id,
            ]
        )
        == 0
    )
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert set(warnings) <= set(report["warnings"])
    for page in ("report.html", "README.md"):
        assert all(warning in (tmp_path / "out" / page).read_text() for warning in warnings)
