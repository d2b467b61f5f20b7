import math
import random

import pandas as pd
import pytest
from mlflow import MlflowClient

from study.recording import Recorder
from study.records import FAILED, FINISHED, METRICS, RUNNING
from study.tracking import PARENT, Tracker

FAMILY, KNOBS = "noisy_label-phantom", {"lr": float, "epochs": int}
BASELINE_RETAIN = 0.9


@pytest.fixture
def session(tmp_path, store):
    """Runs `work(recorder)` as one session of a study, at a store or elsewhere, and gives its tracker's problem."""

    def run(work, uri=store):
        tracker = Tracker(uri, FAMILY, "study-1", tmp_path / "artifacts")
        recorder = Recorder(tmp_path, KNOBS, "noisy_label", 0.9, tracker)
        tracker.start(PARENT, {}, {})
        work(recorder)
        tracker.close()
        return tracker.problem

    return run


def report(epoch, retain=0.85, forget=0.25, **values):
    """What the trainable reports for an epoch."""
    gaps = {"dice_gap": retain - forget, "retention": retain / BASELINE_RETAIN}
    dice = {"retain_dice": retain, "forget_dice": forget}
    rest = {"epoch": epoch, "loss": 1 / epoch, "seconds": 2.0, "diverged": False, "done": False, "pid": 1}
    return {**dict.fromkeys(METRICS, 0.5), **gaps, **dice, **rest, **values}


def run_trial(recorder, name, *reports, status=FINISHED, diverged=False):
    recorder.started(name, {"lr": 0.001, "epochs": len(reports)})
    for epoch, values in enumerate(reports, start=1):
        recorder.epoch(name, report(epoch, **values))
    recorder.ended(name, status, diverged)


def row_of(tmp_path, name):
    return pd.read_parquet(tmp_path / "trials.parquet").set_index("id").loc[name]


def test_a_trial_from_start_to_end_is_on_disk_at_every_moment(session, tmp_path, store, runs_in, steps_in):
    def work(recorder):
        recorder.started("a", {"lr": 0.001, "epochs": 2})
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
        history = pd.read_parquet(tmp_path / "history.parquet")
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
    assert steps_in(store, run, "forget_dice") == [(1, 0.5), (2, 0.125)]
    assert run.data.metrics.keys() == {*METRICS, "epoch", "loss", "seconds"}


def beaten(row, others):
    """The definition: another feasible trial is at least as good in both Dice and better in one."""
    mine = (row["retain_dice"], -row["forget_dice"])
    points = [(other["retain_dice"], -other["forget_dice"]) for other in others]
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
    stored = pd.read_parquet(tmp_path / "trials.parquet").set_index("id")
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
        recorder.started("a", {"lr": 0.001, "epochs": 3})
        for epoch, forget in ((1, 0.5), (2, 0.4), (2, 0.3), (3, 0.125)):
            recorder.epoch("a", report(epoch, forget=forget))
        recorder.ended("a", FINISHED, diverged=False)

    assert session(work) is None
    history = pd.read_parquet(tmp_path / "history.parquet")
    assert history[["epoch", "forget_dice"]].values.tolist() == [[1, 0.5], [2, 0.3], [3, 0.125]]
    assert (row_of(tmp_path, "a")["epochs_done"], row_of(tmp_path, "a")["seconds"]) == (3, 6.0)
    assert [step for step, _ in steps_in(store, runs_in(store, FAMILY)["a"], "forget_dice")] == [1, 2, 3]


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
    table = pd.read_parquet(tmp_path / "trials.parquet")
    assert table[table["feasible"]]["id"].tolist() == table[table["on_front"]]["id"].tolist() == ["good"]
    runs = runs_in(store, FAMILY)
    assert [runs[name].info.status for name in ("at once", "later", "diverged")] == ["FAILED", "FAILED", "FINISHED"]
    assert runs["diverged"].data.tags["diverged"] == "true"


def test_a_trial_that_continues_keeps_its_epochs(session, tmp_path, store, runs_in, steps_in):
    def interrupted(recorder):
        recorder.started("a", {"lr": 0.001, "epochs": 3})
        recorder.epoch("a", report(1))

    def continued(recorder):
        recorder.catch_up()
        assert recorder.rows[0]["status"] == RUNNING
        recorder.started("a", {"lr": 0.001, "epochs": 3})
        for epoch in (2, 3):
            recorder.epoch("a", report(epoch))
        recorder.ended("a", FINISHED, diverged=False)

    assert session(interrupted) is None
    assert session(continued) is None
    assert row_of(tmp_path, "a")["epochs_done"] == 3
    run = runs_in(store, FAMILY)["a"]
    assert run.info.status == "FINISHED"
    assert [step for step, _ in steps_in(store, run, "loss")] == [1, 2, 3]


def test_catching_up_logs_once_what_mlflow_lacks(session, tmp_path, store, runs_in, steps_in, closed_port):
    def unseen(recorder):
        run_trial(recorder, "a", {"forget": 0.5}, {"forget": 0.25})
        recorder.started("b", {"lr": 0.001, "epochs": 9})
        recorder.epoch("b", report(1, forget=0.75))

    assert "refused" in session(unseen, f"http://127.0.0.1:{closed_port}")
    assert len(pd.read_parquet(tmp_path / "history.parquet")) == 3
    for _ in range(2):
        assert session(Recorder.catch_up) is None
        runs = runs_in(store, FAMILY)
        assert set(runs) == {PARENT, "a", "b"}
        assert steps_in(store, runs["a"], "forget_dice") == [(1, 0.5), (2, 0.25)]
        assert steps_in(store, runs["b"], "forget_dice") == [(1, 0.75)]
        assert (runs["a"].info.status, runs["b"].info.status) == ("FINISHED", "KILLED")
        assert runs["a"].data.tags["on_front"] == "true"


def test_a_reference_is_a_run_with_its_history(session, store, runs_in, steps_in):
    history = [
        {"epoch": 1, "loss": 2.0, "seconds": 1.0},
        {"epoch": 2, "loss": 1.5, "seconds": 1.0, "retain_dice": 0.9},
    ]
    for _ in range(2):
        assert session(lambda recorder: recorder.reference("baseline", "d" * 12, history)) is None
    run = runs_in(store, FAMILY)["baseline"]
    assert (run.info.status, run.data.params["digest"]) == ("FINISHED", "d" * 12)
    assert steps_in(store, run, "loss") == [(1, 2.0), (2, 1.5)]
    assert steps_in(store, run, "retain_dice") == [(2, 0.9)]


def test_the_result_names_the_best_trial_on_the_parent_and_attaches_the_files(session, tmp_path, store, runs_in):
    def work(recorder):
        run_trial(recorder, "a", {"forget": 0.25})
        recorder.result(recorder.rows[0], [tmp_path / "trials.parquet"], complete=True)

    assert session(work) is None
    parent = runs_in(store, FAMILY)[PARENT]
    assert (parent.info.status, parent.data.tags["best_trial"]) == ("FINISHED", "a")
    assert parent.data.metrics["forget_dice"] == 0.25
    assert [file.path for file in MlflowClient(store).list_artifacts(parent.info.run_id)] == ["trials.parquet"]


def test_without_a_feasible_trial_the_parent_ends_all_the_same(session, store, runs_in):
    assert session(lambda recorder: recorder.result(None, [], complete=False)) is None
    parent = runs_in(store, FAMILY)[PARENT]
    assert (parent.info.status, parent.data.metrics) == ("KILLED", {})


def test_after_an_interruption_the_parent_shows_the_final_best(session, store, runs_in):
    def interrupted(recorder):
        run_trial(recorder, "a", {"forget": 0.5})
        recorder.started("b", {"lr": 0.001, "epochs": 1})
        recorder.result(recorder.rows[0], [], complete=False)

    def completed(recorder):
        run_trial(recorder, "b", {"forget": 0.125})
        recorder.result(recorder.rows[1], [], complete=True)

    assert session(interrupted) is None
    assert session(completed) is None
    parent = runs_in(store, FAMILY)[PARENT]
    assert (parent.info.status, parent.data.tags["best_trial"]) == ("FINISHED", "b")
    assert parent.data.metrics["forget_dice"] == 0.125
