import math
import random
import threading
from itertools import count
from statistics import fmean

import pandas as pd
import pytest
from mlflow import MlflowClient

from study.networks.references import Reference
from study.recording import tracker as tracking
from study.recording.recorder import Recorder
from study.recording.tracker import PARENT, Tracker
from study.records.constraints import Constraint
from study.records.evidence import EVIDENCE
from study.records.metrics import METRICS
from study.records.objectives import OBJECTIVES
from study.records.tables import history_table, references_table, subjects_table, trials_table
from study.records.trials import FAILED, FINISHED, PRUNED, RUNNING

FAMILY, KNOBS = "noisy_label-phantom", {"lr": float, "epochs": int}
BASELINE_RETAIN = 0.9
FLOOR = (Constraint("retention", ">=", 0.9),)
SETS = {"retain": ("s-1", "s-2", "s-3"), "forget": ("s-4",), "heldout": ("s-5", "s-6")}


@pytest.fixture
def session(tmp_path, store):
    """Runs `work(recorder)` as one session of a study, at a store or elsewhere, and gives its tracker's problem."""

    def run(work, uri=store, objective="gap", horizons=(), constraints=FLOOR):
        tracker = Tracker(uri, FAMILY, "study-1", tmp_path / "artifacts", lambda told: None)
        recorder = Recorder(tmp_path, KNOBS, OBJECTIVES[objective], constraints, SETS, tracker, horizons)
        tracker.start(PARENT, {}, {})
        work(recorder)
        tracker.close()
        return tracker.problem

    return run


@pytest.fixture
def gone(closed_port, monkeypatch):
    """URI of a server that is not there; sessions do not wait for it for long."""
    monkeypatch.setattr(tracking, "_PATIENCE", 0.5)
    return f"http://127.0.0.1:{closed_port}"


def config(name, strategy="noisy_label", seed=0, **knobs):
    return {"id": name, "strategy": strategy, "seed": seed, "knobs": knobs, "checkpoint": None}


def values_of(start=0.0):
    """`<set>_<metric>` -> one value per subject, all of them different."""
    numbers = count()
    return {
        f"{subset}_{metric}": [start + next(numbers) / 64 for _ in subjects]
        for metric in ("dice", "mae")
        for subset, subjects in SETS.items()
    }


def reference(history, subjects=None):
    metrics = {"retain_dice": 0.9, "forget_dice": 0.8}
    return Reference("d" * 12, 5, metrics, subjects or values_of(), history, weights={})


def report(epoch, retain=0.85, forget=0.25, **values):
    """What the trainable reports for an epoch."""
    gaps = {"dice_gap": retain - forget, "retention": retain / BASELINE_RETAIN}
    dice = {"retain_dice": retain, "forget_dice": forget}
    rest = {"epoch": epoch, "loss": 1 / epoch, "seconds": 2.0, "diverged": False, "done": False, "pid": 1}
    rest["subjects"] = values_of()
    return {**dict.fromkeys(METRICS, 0.5), **gaps, **dice, **rest, **values}


def run_trial(recorder, name, *reports, status=FINISHED, diverged=False):
    recorder.started(config(name, lr=0.001, epochs=len(reports)))
    for epoch, values in enumerate(reports, start=1):
        recorder.epoch(name, report(epoch, **values))
    recorder.ended(name, status, diverged)


TABLES = {
    "trials": lambda folder: trials_table(folder, KNOBS),
    "history": history_table,
    "subjects": subjects_table,
    "references": references_table,
}


def read(tmp_path, name):
    """A table as another process would see it at this moment."""
    return TABLES[name](tmp_path).read().to_pandas()


def row_of(tmp_path, name):
    return read(tmp_path, "trials").set_index("id").loc[name]


def test_a_trial_from_start_to_end_is_on_disk_at_every_moment(session, tmp_path, store, runs_in, steps_in):
    def work(recorder):
        recorder.started(config("a", lr=0.001, epochs=2))
        row = row_of(tmp_path, "a")
        assert (row["status"], row["epochs_done"], row["seconds"], row["lr"], row["epochs"]) == (
            RUNNING,
            0,
            0,
            0.001,
            2,
        )
        assert row[list(METRICS)].isna().all()
        recorder.epoch("a", report(1, retain=0.88, forget=0.5))
        recorder.epoch("a", report(2, retain=0.86, forget=0.125))
        history = read(tmp_path, "history")
        assert history[["id", "epoch", "forget_dice", "loss"]].values.tolist() == [
            ["a", 1, 0.5, 1.0],
            ["a", 2, 0.125, 0.5],
        ]
        assert row_of(tmp_path, "a")["status"] == RUNNING
        recorder.ended("a", FINISHED, diverged=False)

    assert session(work) is None
    row = row_of(tmp_path, "a")
    assert (row["status"], row["epochs_done"], row["seconds"], row["strategy"]) == (FINISHED, 2, 4.0, "noisy_label")
    assert (row["retain_dice"], row["forget_dice"], row["dice_gap"]) == (0.86, 0.125, 0.735)
    assert (row["feasible"], row["on_front"], row["diverged"]) == (True, True, False)
    run = runs_in(store, FAMILY)["a"]
    assert run.info.status == "FINISHED"
    assert run.data.params.items() >= {"lr": "0.001", "epochs": "2"}.items()
    tags = {"status": "finished", "feasible": "true", "on_front": "true", "diverged": "false"}
    assert run.data.tags.items() >= tags.items()
    assert steps_in(store, run, "forget/dice") == [(1, 0.5), (2, 0.125)]
    sets = {f"{subset}/{metric}" for subset in ("retain", "forget", "heldout") for metric in ("dice", "mae")}
    gaps = {f"gap/{name}" for name in ("dice", "mae", "retrain", "unseen")}
    assert run.data.metrics.keys() == {*sets, *gaps, "retention", "epoch", "training/loss", "training/seconds"}
    assert run.info.run_name == "noisy_label lr=1.0e-03 epochs=2"


def beaten(row, others, forgetting="forget_dice"):
    """The definition: another feasible trial is at least as good in both and better in one."""
    mine = (row["retain_dice"], -row[forgetting])
    points = [(other["retain_dice"], -other[forgetting]) for other in others]
    return any(point != mine and all(p >= m for p, m in zip(point, mine, strict=True)) for point in points)


def test_every_end_marks_the_front_anew_in_the_table_and_in_mlflow(session, tmp_path, store, runs_in):
    rng = random.Random(1)
    outcomes = [{"retain": rng.uniform(0.75, 0.9), "forget": rng.uniform(0.0, 0.8)} for _ in range(10)]
    changed = []

    def work(recorder):
        for number, outcome in enumerate(outcomes):
            before = {row["id"]: row["on_front"] for row in recorder.rows}
            run_trial(recorder, f"t{number}", outcome)
            rows = recorder.rows
            feasible = [row for row in rows if row["retain_dice"] >= 0.9 * BASELINE_RETAIN]
            assert [row for row in rows if row["feasible"]] == feasible
            assert [row["on_front"] for row in feasible] == [not beaten(row, feasible) for row in feasible]
            assert not any(row["on_front"] for row in rows if not row["feasible"])
            changed.extend(row["id"] for row in rows if before.get(row["id"], row["on_front"]) != row["on_front"])

    assert session(work) is None
    assert changed, "no trial lost its place on the front: choose other outcomes"
    stored = read(tmp_path, "trials").set_index("id")
    tags = {name: run.data.tags for name, run in runs_in(store, FAMILY).items() if name != PARENT}
    assert len(tags) == 10
    assert {name: tag["on_front"] for name, tag in tags.items()} == stored["on_front"].map(
        {True: "true", False: "false"}
    ).to_dict()


def test_undefined_metrics_are_kept_as_nan_and_never_feasible(session, tmp_path, store, runs_in, steps_in):
    undefined = {"retain": math.nan}
    assert session(lambda recorder: run_trial(recorder, "a", {}, undefined)) is None
    row = row_of(tmp_path, "a")
    assert math.isnan(row["retain_dice"])
    assert math.isnan(row["retention"])
    assert (row["forget_dice"], row["feasible"], row["on_front"]) == (0.25, False, False)
    (first, second) = steps_in(store, runs_in(store, FAMILY)["a"], "retention")
    assert first == (1, 0.85 / BASELINE_RETAIN)
    assert math.isnan(second[1])


def test_an_epoch_repeated_after_a_restart_replaces_the_first(session, tmp_path, store, runs_in, steps_in):
    def work(recorder):
        recorder.started(config("a", lr=0.001, epochs=3))
        for epoch, forget in ((1, 0.5), (2, 0.4), (2, 0.3), (3, 0.125)):
            recorder.epoch("a", report(epoch, forget=forget))
        recorder.ended("a", FINISHED, diverged=False)

    assert session(work) is None
    history = read(tmp_path, "history")
    assert history[["epoch", "forget_dice"]].values.tolist() == [[1, 0.5], [2, 0.3], [3, 0.125]]
    assert (row_of(tmp_path, "a")["epochs_done"], row_of(tmp_path, "a")["seconds"]) == (3, 6.0)
    assert [step for step, _ in steps_in(store, runs_in(store, FAMILY)["a"], "forget/dice")] == [1, 2, 3]


def test_failed_and_diverged_trials_are_recorded_and_infeasible(session, tmp_path, store, runs_in):
    def work(recorder):
        run_trial(recorder, "at once", status=FAILED)
        run_trial(recorder, "later", {}, {"forget": 0.01}, status=FAILED)
        run_trial(recorder, "diverged", {"forget": 0.02}, diverged=True)
        run_trial(recorder, "good", {})

    assert session(work) is None
    at_once, later, diverged = (row_of(tmp_path, name) for name in ("at once", "later", "diverged"))
    assert at_once[list(METRICS)].isna().all()
    assert (at_once["epochs_done"], later["epochs_done"]) == (0, 2)
    assert later["forget_dice"] == 0.01
    assert (later["status"], diverged["status"], diverged["diverged"]) == (FAILED, FINISHED, True)
    table = read(tmp_path, "trials")
    assert table[table["feasible"]]["id"].tolist() == table[table["on_front"]]["id"].tolist() == ["good"]
    runs = runs_in(store, FAMILY)
    assert [runs[name].info.status for name in ("at once", "later", "diverged")] == ["FAILED", "FAILED", "FINISHED"]
    assert runs["diverged"].data.tags["diverged"] == "true"


def test_a_trial_that_continues_keeps_its_epochs(session, tmp_path, store, runs_in, steps_in):
    def interrupted(recorder):
        recorder.started(config("a", lr=0.001, epochs=3))
        recorder.epoch("a", report(1))

    def continued(recorder):
        recorder.catch_up()
        assert recorder.rows[0]["status"] == RUNNING
        recorder.started(config("a", lr=0.001, epochs=3))
        for epoch in (2, 3):
            recorder.epoch("a", report(epoch))
        recorder.ended("a", FINISHED, diverged=False)

    assert session(interrupted) is None
    assert session(continued) is None
    assert row_of(tmp_path, "a")["epochs_done"] == 3
    run = runs_in(store, FAMILY)["a"]
    assert run.info.status == "FINISHED"
    assert [step for step, _ in steps_in(store, run, "training/loss")] == [1, 2, 3]


def test_catching_up_logs_once_what_mlflow_lacks(session, tmp_path, store, runs_in, steps_in, gone):
    def unseen(recorder):
        run_trial(recorder, "a", {"forget": 0.5}, {"forget": 0.25})
        recorder.started(config("b", lr=0.001, epochs=9))
        recorder.epoch("b", report(1, forget=0.75))

    assert "refused" in session(unseen, gone)
    assert len(read(tmp_path, "history")) == 3
    for _ in range(2):
        assert session(Recorder.catch_up) is None
        runs = runs_in(store, FAMILY)
        assert set(runs) == {PARENT, "a", "b"}
        assert steps_in(store, runs["a"], "forget/dice") == [(1, 0.5), (2, 0.25)]
        assert steps_in(store, runs["b"], "forget/dice") == [(1, 0.75)]
        assert (runs["a"].info.status, runs["b"].info.status) == ("FINISHED", "KILLED")
        assert runs["a"].data.tags["on_front"] == "true"


def known_references(recorder, history, *names):
    """As a session begins."""
    for name in names:
        recorder.reference(name, reference(history))
    recorder.catch_up()


def test_a_reference_has_its_history_in_the_table_and_is_a_run(session, tmp_path, store, runs_in, steps_in):
    history = [
        {"epoch": 1, "loss": 2.0, "seconds": 1.0},
        {"epoch": 2, "loss": 1.5, "seconds": 1.0, "retain_dice": 0.9},
    ]
    for _ in range(2):
        assert session(lambda recorder: known_references(recorder, history, "baseline", "retrained")) is None
        table = read(tmp_path, "history")
        assert table.id.tolist() == ["baseline"] * 2 + ["retrained"] * 2
        assert table.epoch.tolist() == [1, 2] * 2
        assert table.loss.tolist() == [2.0, 1.5] * 2
        assert table.retain_dice.isna().tolist() == [True, False] * 2
        run = runs_in(store, FAMILY)["baseline"]
        assert (run.info.status, run.data.params["digest"]) == ("FINISHED", "d" * 12)
        assert (run.data.params["reference"], run.data.tags["status"]) == ("baseline", "finished")
        assert steps_in(store, run, "training/loss") == [(1, 2.0), (2, 1.5)]
        assert steps_in(store, run, "retain/dice") == [(2, 0.9)]


def test_the_result_names_the_best_trial_on_the_parent_and_attaches_the_files(session, tmp_path, store, runs_in):
    def work(recorder):
        run_trial(recorder, "a", {"forget": 0.25})
        recorder.close()
        recorder.result(sorted(tmp_path.glob("trials/*")), complete=True)

    assert session(work) is None
    parent = runs_in(store, FAMILY)[PARENT]
    assert (parent.info.status, parent.data.tags["best_trial"]) == ("FINISHED", "a")
    assert parent.data.metrics["forget/dice"] == 0.25
    description = parent.data.tags["mlflow.note.content"]
    assert "**noisy_label" in description
    assert "| forget dice | 0.250 |" in description
    assert [file.path for file in MlflowClient(store).list_artifacts(parent.info.run_id)] == ["00000001.parquet"]


def test_without_a_feasible_trial_the_parent_ends_all_the_same(session, store, runs_in):
    assert session(lambda recorder: recorder.result([], complete=False)) is None
    parent = runs_in(store, FAMILY)[PARENT]
    assert (parent.info.status, parent.data.metrics) == ("KILLED", {})
    assert parent.data.tags["mlflow.note.content"] == "No trial is feasible so far."


def test_after_an_interruption_the_parent_shows_the_final_best(session, store, runs_in):
    def interrupted(recorder):
        run_trial(recorder, "a", {"forget": 0.5})
        recorder.started(config("b", lr=0.001, epochs=1))
        recorder.result([], complete=False)

    def completed(recorder):
        run_trial(recorder, "b", {"forget": 0.125})
        recorder.result([], complete=True)

    assert session(interrupted) is None
    assert session(completed) is None
    parent = runs_in(store, FAMILY)[PARENT]
    assert (parent.info.status, parent.data.tags["best_trial"]) == ("FINISHED", "b")
    assert parent.data.metrics["forget/dice"] == 0.125


def subjects_of(tmp_path):
    return read(tmp_path, "subjects")


def run_with(recorder, name, *epochs):
    """A trial whose metrics are the means of its subjects' values."""
    recorder.started(config(name, lr=0.001, epochs=len(epochs)))
    for epoch, start in enumerate(epochs, start=1):
        values = values_of(start)
        metrics = {key: fmean(numbers) for key, numbers in values.items()}
        recorder.epoch(name, {**report(epoch), **metrics, "subjects": values})
    recorder.ended(name, FINISHED, diverged=False)


def test_single_subjects_are_recorded_by_pseudonym_at_horizons_and_at_the_end(session, tmp_path):
    def work(recorder):
        run_with(recorder, "a", 0.1, 0.2, 0.3, 0.4)
        run_with(recorder, "b", 0.5, 0.6)

    assert session(work, horizons=(2, 3)) is None
    table = subjects_of(tmp_path)
    assert table.groupby("id").epoch.unique().map(list).to_dict() == {"a": [2, 3, 4], "b": [2]}
    starts = {("a", 2): 0.2, ("a", 3): 0.3, ("a", 4): 0.4, ("b", 2): 0.6}
    for (name, epoch), rows in table.groupby(["id", "epoch"]):
        assert list(zip(rows["set"], rows.subject, strict=True)) == [(s, who) for s in SETS for who in SETS[s]]
        first, sixths = starts[name, epoch], rows.reset_index(drop=True)
        assert sixths.dice.tolist() == [first + place / 64 for place in range(6)]
        assert sixths.mae.tolist() == [first + (6 + place) / 64 for place in range(6)]
    trials = read(tmp_path, "trials").set_index("id")
    for name, last in (("a", 4), ("b", 2)):
        means = table[(table.id == name) & (table.epoch == last)].groupby("set")[["dice", "mae"]].mean()
        for subset in SETS:
            assert trials.loc[name, f"{subset}_dice"] == pytest.approx(means.loc[subset, "dice"])
            assert trials.loc[name, f"{subset}_mae"] == pytest.approx(means.loc[subset, "mae"])


def test_the_single_subjects_of_a_reference_are_recorded_once(session, tmp_path):
    history = [{"epoch": epoch, "loss": 1.0, "seconds": 1.0} for epoch in range(1, 8)]
    for start in (0.25, 0.5):
        assert (
            session(lambda recorder, x=start: recorder.reference("retrained-1", reference(history, values_of(x))))
            is None
        )
    table = subjects_of(tmp_path)
    assert (len(table), set(table.id), set(table.epoch)) == (6, {"retrained-1"}, {7})
    assert table.set_index("subject").dice.to_dict() == {f"s-{n}": 0.25 + (n - 1) / 64 for n in range(1, 7)}


def test_an_undefined_value_of_a_subject_stays_undefined(session, tmp_path):
    def work(recorder):
        recorder.started(config("a", lr=0.001, epochs=1))
        values = {**values_of(), "retain_dice": [0.5, math.nan, 0.75]}
        recorder.epoch("a", {**report(1), "subjects": values})
        recorder.ended("a", FAILED, diverged=False)

    assert session(work) is None
    table = subjects_of(tmp_path).set_index("subject")
    assert table.dice[["s-1", "s-3"]].tolist() == [0.5, 0.75]
    assert math.isnan(table.dice["s-2"])


def test_a_trial_that_continues_to_its_end_elsewhere_has_the_subjects_of_its_last_epoch(session, tmp_path):
    def interrupted(recorder):
        recorder.started(config("a", lr=0.001, epochs=3))
        recorder.epoch("a", report(1))
        recorder.epoch("a", report(2))

    def continued(recorder):
        recorder.started(config("a", lr=0.001, epochs=3))
        recorder.epoch("a", {**report(3), "subjects": values_of(0.5)})
        recorder.ended("a", FINISHED, diverged=False)
        run_trial(recorder, "none", status=FAILED)

    assert session(interrupted, horizons=(1,)) is None
    assert set(subjects_of(tmp_path).epoch) == {1}
    assert session(continued, horizons=(1,)) is None
    table = subjects_of(tmp_path)
    assert sorted(set(zip(table.id, table.epoch, strict=True))) == [("a", 1), ("a", 3)]
    assert table[table.epoch == 3].dice.tolist() == [0.5 + place / 64 for place in range(6)]


def test_a_row_tells_strategy_seed_and_the_knobs_that_a_trial_has(session, tmp_path, store, runs_in):
    def work(recorder):
        recorder.started(config("a", strategy="max_loss", seed=2, epochs=1))
        recorder.started(config("b", strategy="ssd", seed=3, lr=0.5, epochs=1))

    assert session(work) is None
    a, b = row_of(tmp_path, "a"), row_of(tmp_path, "b")
    assert (a["strategy"], a["seed"], b["strategy"], b["seed"], b["lr"]) == ("max_loss", 2, "ssd", 3, 0.5)
    assert math.isnan(a["lr"])
    runs = runs_in(store, FAMILY)
    assert runs["a"].data.params.items() >= {"epochs": "1", "seed": "2"}.items()
    assert "lr" not in runs["a"].data.params
    assert runs["a"].data.tags["strategy"] == "max_loss"


def test_the_objective_decides_the_front(session, tmp_path):
    rng = random.Random(4)
    outcomes = [{"retain": rng.uniform(0.75, 0.9), "retrain_gap": rng.random()} for _ in range(12)]

    def work(recorder):
        for number, outcome in enumerate(outcomes):
            run_trial(recorder, f"t{number}", outcome)

    assert session(work, objective="retrain") is None
    rows = read(tmp_path, "trials").to_dict("records")
    feasible = [row for row in rows if row["retain_dice"] >= 0.9 * BASELINE_RETAIN]
    assert [row["on_front"] for row in feasible] == [not beaten(row, feasible, "retrain_gap") for row in feasible]
    assert any(row["on_front"] for row in rows)


FOUND = {
    **dict.fromkeys(EVIDENCE),
    **{"remembers": False, "streisand": True, "loss_auc": 0.75, "loss_auc_low": math.nan, "relearn_steps": math.inf},
    "evidence": "settings-1",
}
LOGGED = {"remembers": 0.0, "streisand": 1.0, "loss_auc": 0.75}


def references_of(tmp_path):
    return read(tmp_path, "references").set_index("id")


def evidence_in(store, runs):
    return {
        name: {key: run.data.metrics[f"evidence/{key}"] for key in EVIDENCE if f"evidence/{key}" in run.data.metrics}
        for name, run in runs.items()
    }


def test_a_reference_is_a_row_with_its_final_metrics(session, tmp_path):
    history = [{"epoch": 1, "loss": 2.0, "seconds": 1.0}]

    def work(recorder):
        for name in ("baseline", "retrained"):
            recorder.reference(name, reference(history))

    for _ in range(2):
        assert session(work) is None
    table = references_of(tmp_path)
    assert table.index.tolist() == ["baseline", "retrained"]
    assert (table.digest == "d" * 12).all()
    assert table.loc["baseline", ["seed", "retain_dice", "forget_dice"]].tolist() == [5, 0.9, 0.8]
    assert table[["heldout_dice", *EVIDENCE]].isna().all(axis=None)
    assert not {"dice_gap", "retention"} & set(table)


def test_evidence_is_recorded_of_whom_it_was_gathered_and_logged_as_metrics(session, tmp_path, store, runs_in):
    history = [{"epoch": 1, "loss": 2.0, "seconds": 1.0}]

    def work(recorder):
        known_references(recorder, history, "baseline", "retrained")
        for name in ("a", "b"):
            run_trial(recorder, name, {})
        assert [recorder.evidence(name) for name in ("baseline", "a", "nobody")] == [None] * 3
        recorder.gathered("a", FOUND)
        recorder.gathered("retrained", {**FOUND, "loss_auc": 0.5})
        assert [recorder.evidence(name) for name in ("retrained", "a", "b")] == ["settings-1", "settings-1", None]

    assert session(work) is None
    for table, examined, other, auc in (
        (read(tmp_path, "trials").set_index("id"), "a", "b", 0.75),
        (references_of(tmp_path), "retrained", "baseline", 0.5),
    ):
        row = table.loc[examined]
        assert (row.loss_auc, row.relearn_steps, row.remembers, row.streisand) == (auc, math.inf, False, True)
        assert row[["loss_auc_low", "over_forgets", "lira_auc"]].isna().all()
        assert table.loc[other, list(EVIDENCE)].isna().all()
        assert table.retain_dice.notna().all()
    logged = evidence_in(store, runs_in(store, FAMILY))
    assert (logged["a"], logged["retrained"]) == (LOGGED, {**LOGGED, "loss_auc": 0.5})
    assert logged["b"] == logged["baseline"] == {}


def test_evidence_outlives_later_sessions(session, tmp_path):
    history = [{"epoch": 1, "loss": 2.0, "seconds": 1.0}]

    def first(recorder):
        recorder.reference("baseline", reference(history))
        run_trial(recorder, "a", {"forget": 0.5})
        for name in ("a", "baseline"):
            recorder.gathered(name, FOUND)

    def second(recorder):
        recorder.reference("baseline", reference(history))
        recorder.catch_up()
        run_trial(recorder, "b", {"forget": 0.25})
        assert recorder.evidence("a") == recorder.evidence("baseline") == "settings-1"

    assert session(first) is None
    assert session(second) is None
    assert row_of(tmp_path, "a").loss_auc == references_of(tmp_path).loss_auc["baseline"] == 0.75
    assert pd.isna(row_of(tmp_path, "b")["evidence"])


def test_catching_up_logs_once_the_evidence_that_mlflow_lacks(session, store, runs_in, steps_in, gone):
    history = [{"epoch": 1, "loss": 2.0, "seconds": 1.0}]

    def unseen(recorder):
        known_references(recorder, history, "baseline")
        run_trial(recorder, "a", {}, {})
        for name in ("a", "baseline"):
            recorder.gathered(name, FOUND)

    assert "refused" in session(unseen, gone)
    for _ in range(3):
        assert session(lambda recorder: known_references(recorder, history, "baseline")) is None
        runs = runs_in(store, FAMILY)
        assert set(runs) == {PARENT, "baseline", "a"}
        logged = evidence_in(store, runs)
        assert logged["a"] == logged["baseline"] == LOGGED
        for name, epochs in (("baseline", [(1, 2.0)]), ("a", [(1, 1.0), (2, 0.5)])):
            assert steps_in(store, runs[name], "training/loss") == epochs
            for column, value in LOGGED.items():
                assert steps_in(store, runs[name], f"evidence/{column}") == [(0, value)]


def test_the_front_has_as_many_goals_as_the_objective_and_meets_every_constraint(session, tmp_path):
    """On seconds too, the sum over a trial's epochs."""
    rng = random.Random(2)
    outcomes = [
        {"retain": rng.randint(50, 60) / 64, "forget": rng.randint(0, 36) / 64, "seconds": rng.randint(1, 9) * 1.0}
        for _ in range(24)
    ]
    constraints = (*FLOOR, Constraint("seconds", "<=", 14.0), Constraint("forget_dice", "<=", 0.5))

    def work(recorder):
        for number, outcome in enumerate(outcomes):
            run_trial(recorder, f"t{number}", outcome, outcome)

    assert session(work, objective="front_seconds", constraints=constraints) is None
    rows = read(tmp_path, "trials").to_dict("records")
    assert [row["seconds"] for row in rows] == [2 * outcome["seconds"] for outcome in outcomes]
    points = [
        (outcome["retain"], -outcome["forget"], -outcome["seconds"])
        if outcome["retain"] >= 0.81 and outcome["seconds"] <= 7 and outcome["forget"] <= 0.5
        else None
        for outcome in outcomes
    ]
    assert [row["feasible"] for row in rows] == [point is not None for point in points]
    assert [row["on_front"] for row in rows] == [
        mine is not None
        and not any(
            other is not None and other != mine and all(o >= m for o, m in zip(other, mine, strict=True))
            for other in points
        )
        for mine in points
    ]
    assert 2 < sum(row["on_front"] for row in rows) < sum(row["feasible"] for row in rows) < len(rows)


def test_pruned_trials_are_killed_runs_with_what_they_had(session, tmp_path, store, runs_in):
    def work(recorder):
        run_trial(recorder, "pruned", {"forget": 0.0}, status=PRUNED)
        recorder.started(config("failed", epochs=1))
        recorder.ended("failed", FAILED, diverged=False, problem="ValueError: bad mood")
        run_trial(recorder, "good", {"forget": 0.5})
        assert recorder.ended_trials == 3
        recorder.started(config("running", epochs=1))
        assert recorder.ended_trials == 3

    assert session(work) is None
    for _ in range(2):
        pruned = row_of(tmp_path, "pruned")
        assert (pruned["status"], pruned["epochs_done"], pruned["forget_dice"]) == (PRUNED, 1, 0.0)
        assert not read(tmp_path, "trials").set_index("id").feasible[["pruned", "failed"]].any()
        assert row_of(tmp_path, "failed")["problem"] == "ValueError: bad mood"
        assert row_of(tmp_path, "good")["on_front"]
        runs = runs_in(store, FAMILY)
        statuses = {"pruned": "KILLED", "failed": "FAILED", "good": "FINISHED"}
        assert {name: runs[name].info.status for name in statuses} == statuses
        assert runs["pruned"].data.tags["status"] == "pruned"
        assert "problem" not in runs["failed"].data.params
        assert session(Recorder.catch_up) is None
    assert runs_in(store, FAMILY)["running"].info.status == "KILLED"


def test_a_closed_study_is_plain_parquet_folders(session, tmp_path):
    history = [{"epoch": 1, "loss": 2.0, "seconds": 1.0}]

    def work(recorder):
        known_references(recorder, history, "baseline")
        for name in ("a", "b"):
            run_trial(recorder, name, {}, {"forget": 0.125})
        recorder.close()

    for _ in range(2):
        assert session(work) is None
        for name, rows in (("trials", 2), ("history", 5), ("subjects", 18), ("references", 1)):
            (file,) = (tmp_path / name).iterdir()
            assert file.suffix == ".parquet"
            found = pd.read_parquet(tmp_path / name)
            assert len(found) == rows
            pd.testing.assert_frame_equal(found, read(tmp_path, name))


def test_epochs_of_a_trial_are_those_of_every_session_in_their_order(session):
    def interrupted(recorder):
        recorder.started(config("a", lr=0.001, epochs=4))
        recorder.epoch("a", report(2))
        recorder.epoch("a", report(1, forget=0.5))

    def continued(recorder):
        recorder.started(config("a", lr=0.001, epochs=4))
        recorder.epoch("a", report(2, forget=0.125))
        recorder.epoch("a", report(3))
        found = [(row["id"], row["epoch"], row["forget_dice"]) for row in recorder.epochs("a")]
        assert found == [("a", 1, 0.5), ("a", 2, 0.125), ("a", 3, 0.25)]
        assert recorder.epochs("b") == []

    assert session(interrupted) is None
    assert session(continued) is None


def test_an_epoch_reported_while_mlflow_catches_up_is_logged_once(
    session, store, runs_in, steps_in, gone, monkeypatch
):
    """Its history is read while the trial goes on: here after its next epoch, as the store comes up late."""

    def first(recorder):
        recorder.started(config("a", lr=0.001, epochs=4))
        recorder.epoch("a", report(1))

    assert "refused" in session(first, gone)
    open_runs, ready = tracking._Runs, threading.Event()
    monkeypatch.setattr(tracking, "_Runs", lambda *given: ready.wait(20) and open_runs(*given))
    monkeypatch.setattr(tracking, "_PATIENCE", 20)

    def second(recorder):
        recorder.catch_up()
        recorder.started(config("a", lr=0.001, epochs=4))
        recorder.epoch("a", report(2))
        ready.set()
        recorder.epoch("a", report(3))

    assert session(second) is None
    assert [step for step, _ in steps_in(store, runs_in(store, FAMILY)["a"], "training/loss")] == [1, 2, 3]
