import errno
import math
import os
import random

import pandas as pd
import pytest

from study.recording import recorder as recording
from study.records.constraints import Constraint
from study.records.evidence import EVIDENCE
from study.records.metrics import METRICS
from study.records.tables import history_table, references_table, subjects_table, trials_table
from study.records.trials import FAILED, FINISHED, PRUNED, RUNNING

FOUND = {
    **dict.fromkeys(EVIDENCE),
    **{"remembers": False, "streisand": True, "loss_auc": 0.75, "loss_auc_low": math.nan, "relearn_steps": math.inf},
    "evidence": "settings-1",
}


def read(recorder, name):
    """A table as another process would see it at this moment."""
    tables = {"history": history_table, "subjects": subjects_table, "references": references_table}
    if name == "trials":
        return trials_table(recorder.folder, recorder.KNOBS).read().to_pandas()
    return tables[name](recorder.folder).read().to_pandas()


def row_of(recorder, name):
    return read(recorder, "trials").set_index("id").loc[name]


def test_a_trial_from_start_to_end_is_on_disk_at_every_moment(opened):
    recorder = opened()
    recorder.begin("a", lr=0.001, epochs=2, seed=3)
    row = row_of(recorder, "a")
    assert row[["status", "epochs_done", "seconds", "lr", "epochs", "seed"]].tolist() == [RUNNING, 0, 0, 0.001, 2, 3]
    assert row[list(METRICS)].isna().all()
    recorder.report("a", 1, retain=0.88, forget=0.5)
    recorder.report("a", 2, retain=0.86, forget=0.125)
    history = read(recorder, "history")[["id", "epoch", "forget_dice", "loss"]]
    assert history.values.tolist() == [["a", 1, 0.5, 1.0], ["a", 2, 0.125, 0.5]]
    assert row_of(recorder, "a")["status"] == RUNNING
    recorder.ended("a", FINISHED, diverged=False)
    row = row_of(recorder, "a")
    assert row[["status", "epochs_done", "seconds", "strategy"]].tolist() == [FINISHED, 2, 4.0, "noisy_label"]
    assert row[["retain_dice", "forget_dice", "dice_gap"]].tolist() == [0.86, 0.125, 0.735]
    assert row[["feasible", "on_front", "diverged"]].tolist() == [True, True, False]


def test_a_row_has_only_the_knobs_that_a_trial_has(opened):
    recorder = opened()
    recorder.begin("a", strategy="max_loss", seed=2, epochs=1)
    row = row_of(recorder, "a")
    assert row[["strategy", "seed", "epochs"]].tolist() == ["max_loss", 2, 1]
    assert math.isnan(row["lr"])


def test_every_end_marks_the_front_anew(opened):
    rng = random.Random(1)
    recorder, changed = opened(), []
    for number in range(10):
        before = {row.id: row.on_front for row in recorder.rows}
        recorder.trial(f"t{number}", {"retain": rng.uniform(0.75, 0.9), "forget": rng.uniform(0.0, 0.8)})
        rows = recorder.rows
        feasible = [row for row in rows if row.metric("retain_dice") >= 0.9 * recorder.BASELINE_RETAIN]
        points = [(row.metric("retain_dice"), -row.metric("forget_dice")) for row in feasible]
        assert [row for row in rows if row.feasible] == feasible
        assert [row.on_front for row in feasible] == [not beaten(point, points) for point in points]
        assert not any(row.on_front for row in rows if not row.feasible)
        changed += [row.id for row in rows if before.get(row.id, row.on_front) != row.on_front]
    assert changed, "no trial lost its place on the front: choose other outcomes"
    assert read(recorder, "trials").on_front.tolist() == [row.on_front for row in recorder.rows]


def beaten(point, points):
    """The definition: another one is at least as good in all and better in one."""
    return any(other != point and all(o >= p for o, p in zip(other, point, strict=True)) for other in points)


def test_the_front_has_as_many_goals_as_the_objective_and_meets_every_constraint(opened):
    """On seconds too, the sum over a trial's epochs."""
    rng = random.Random(2)
    constraints = [Constraint(*rule) for rule in (("retention", ">=", 0.9), ("seconds", "<=", 14.0))]
    recorder, points = opened("front_seconds", constraints=[*constraints, Constraint("forget_dice", "<=", 0.5)]), []
    for number in range(24):
        retain, forget, seconds = rng.randint(50, 60) / 64, rng.randint(0, 36) / 64, rng.randint(1, 9) * 1.0
        outcome = {"retain": retain, "forget": forget, "seconds": seconds}
        recorder.trial(f"t{number}", outcome, outcome)
        feasible = retain >= 0.81 and seconds <= 7 and forget <= 0.5
        points.append((retain, -forget, -seconds) if feasible else None)
    rows = read(recorder, "trials")
    front = [point is not None and not beaten(point, [other for other in points if other]) for point in points]
    assert rows.feasible.tolist() == [point is not None for point in points]
    assert rows.on_front.tolist() == front
    assert 2 < sum(front) < rows.feasible.sum() < len(rows)


def test_undefined_metrics_are_kept_as_nan_and_never_feasible(opened):
    recorder = opened()
    recorder.trial("a", {}, {"retain": math.nan})
    row = row_of(recorder, "a")
    assert row[["retain_dice", "retention"]].isna().all()
    assert row[["forget_dice", "feasible", "on_front"]].tolist() == [0.25, False, False]


def test_an_epoch_repeated_after_a_restart_replaces_the_first(opened):
    recorder = opened()
    recorder.begin("a", lr=0.001, epochs=3)
    for epoch, forget in ((1, 0.5), (2, 0.4), (2, 0.3), (3, 0.125)):
        recorder.report("a", epoch, forget=forget)
    recorder.ended("a", FINISHED, diverged=False)
    history = read(recorder, "history")
    assert history[["epoch", "forget_dice"]].values.tolist() == [[1, 0.5], [2, 0.3], [3, 0.125]]
    assert row_of(recorder, "a")[["epochs_done", "seconds"]].tolist() == [3, 6.0]


def test_failed_pruned_and_diverged_trials_are_recorded_and_infeasible(opened):
    recorder = opened()
    recorder.trial("at once", status=FAILED)
    recorder.trial("later", {}, {"forget": 0.01}, status=FAILED)
    recorder.trial("pruned", {"forget": 0.0}, status=PRUNED)
    recorder.trial("diverged", {"forget": 0.02}, diverged=True)
    recorder.trial("good", {})
    recorder.begin("failed", epochs=1)
    assert recorder.ended_trials == 5
    recorder.ended("failed", FAILED, diverged=False, problem="ValueError: bad mood")
    assert recorder.ended_trials == 6
    table = read(recorder, "trials").set_index("id")
    assert table.loc["at once", list(METRICS)].isna().all()
    assert table.epochs_done.to_dict() == {
        "at once": 0,
        "later": 2,
        "pruned": 1,
        "diverged": 1,
        "good": 1,
        "failed": 0,
    }
    assert table.status.tolist() == [FAILED, FAILED, PRUNED, FINISHED, FINISHED, FAILED]
    assert (table.forget_dice["later"], table.problem["failed"]) == (0.01, "ValueError: bad mood")
    assert table.diverged.tolist() == [False, False, False, True, False, False]
    assert table.index[table.feasible].tolist() == table.index[table.on_front].tolist() == ["good"]


def test_a_trial_that_continues_keeps_its_epochs(opened):
    recorder = opened(horizons=(1,))
    recorder.begin("a", lr=0.001, epochs=4)
    recorder.report("a", 2)
    recorder.report("a", 1, forget=0.5)
    assert set(read(recorder, "subjects").epoch) == {1}
    recorder = opened(horizons=(1,))
    assert recorder.rows[0].status == RUNNING
    recorder.begin("a", lr=0.001, epochs=4)
    recorder.report("a", 2, forget=0.125)
    recorder.report("a", 3)
    recorder.ended("a", FINISHED, diverged=False)
    epochs = recorder.epochs({"a": 0, "b": 0})
    assert [(row["epoch"], row["forget_dice"]) for row in epochs["a"]] == [(1, 0.5), (2, 0.125), (3, 0.25)]
    assert epochs["b"] == []
    assert row_of(recorder, "a")["epochs_done"] == 3
    assert sorted(set(read(recorder, "subjects").epoch)) == [1, 3]


def test_single_subjects_are_recorded_by_pseudonym_at_horizons_and_at_the_end(opened):
    recorder = opened(horizons=(2, 3))
    undefined = {"retain_dice": [0.5, math.nan, 0.75], "retain_mae": [1.0, 2.0, 3.0]}
    rest = {"forget_dice": [0.25], "forget_mae": [4.0], "heldout_dice": [0.0, 1.0], "heldout_mae": [5.0, 6.0]}
    recorder.trial("a", {}, {}, {}, {"subjects": {**undefined, **rest}})
    recorder.trial("b", {}, {})
    table = read(recorder, "subjects")
    assert table.groupby("id").epoch.unique().map(list).to_dict() == {"a": [2, 3, 4], "b": [2]}
    last = table[(table.id == "a") & (table.epoch == 4)]
    assert list(zip(last["set"], last.subject, strict=True)) == [
        (subset, who) for subset, subjects in recorder.SETS.items() for who in subjects
    ]
    assert last.mae.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert last.dice.fillna(-1).tolist() == [0.5, -1, 0.75, 0.25, 0.0, 1.0]


def test_a_reference_has_a_row_its_history_and_its_subjects_once(opened):
    for start in (0.25, 0.5):
        recorder = opened()
        recorder.refer("baseline", "retrained", start=start)
        references, history, subjects = (read(recorder, name) for name in ("references", "history", "subjects"))
        assert references.id.tolist() == ["baseline", "retrained"]
        assert references.loc[0, ["digest", "seed", "retain_dice", "forget_dice"]].tolist() == ["d" * 12, 5, 0.9, 0.8]
        assert references[["heldout_dice", *EVIDENCE]].isna().all(axis=None)
        assert not {"dice_gap", "retention"} & set(references)
        assert history[["id", "epoch", "loss"]].values.tolist() == [
            [name, epoch, 2 / epoch] for name in ("baseline", "retrained") for epoch in (1, 2)
        ]
        assert history.retain_dice.isna().tolist() == [True, False] * 2
        assert (len(subjects), set(subjects.epoch), subjects.dice[0]) == (12, {2}, 0.25)


def test_evidence_is_recorded_of_whom_it_was_gathered_and_outlives_later_sessions(opened):
    recorder = opened()
    recorder.refer("baseline", "retrained")
    recorder.trial("a", {"forget": 0.5})
    assert [recorder.row(name).examined for name in ("baseline", "a")] == [None] * 2
    recorder.gathered("a", FOUND)
    recorder.gathered("retrained", {**FOUND, "loss_auc": 0.5})
    recorder = opened()
    recorder.refer("baseline", "retrained")
    recorder.trial("b", {"forget": 0.25})
    assert [recorder.row(name).examined for name in ("retrained", "a", "b")] == ["settings-1", "settings-1", None]
    tables = {"trials": ("a", "b", 0.75), "references": ("retrained", "baseline", 0.5)}
    for name, (examined, other, auc) in tables.items():
        table = read(recorder, name).set_index("id")
        values = table.loc[examined, ["loss_auc", "relearn_steps", "remembers", "streisand"]]
        assert values.tolist() == [auc, math.inf, False, True]
        assert table.loc[examined, ["loss_auc_low", "over_forgets", "lira_auc"]].isna().all()
        assert table.loc[other, list(EVIDENCE)].isna().all()


def test_a_closed_study_is_plain_parquet_folders(opened):
    recorder = opened()
    recorder.refer("baseline")
    for name in ("a", "b"):
        recorder.trial(name, {}, {"forget": 0.125})
    for _ in range(2):
        recorder.close()
        for name, rows in (("trials", 2), ("history", 6), ("subjects", 18), ("references", 1)):
            (file,) = (recorder.folder / name).iterdir()
            assert file.suffix == ".parquet"
            table = pd.read_parquet(recorder.folder / name)
            assert len(table) == rows
            pd.testing.assert_frame_equal(table, read(recorder, name))


def test_tables_for_which_the_disk_has_no_room_stay_as_they_are(opened, monkeypatch):
    recorder = opened()
    recorder.trial("a", {})
    before = {path: path.read_bytes() for path in recorder.folder.rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr("pyarrow.parquet.write_table", full)
        recorder.close()
    assert {path: path.read_bytes() for path in recorder.folder.rglob("*") if path.is_file()} == before
    recorder.close()
    assert pd.read_parquet(recorder.folder / "trials").id.tolist() == ["a"]


@pytest.mark.parametrize("recent", [50, 1, 0])
def test_epochs_after_those_reached_come_from_memory_or_from_one_reading_of_the_table(opened, monkeypatch, recent):
    monkeypatch.setattr(recording, "_RECENT", recent)
    reached = {"a": 1, "nobody": 0, "c": 3, "b": 0, "baseline": 1}
    epochs = [[2, 3], [], [], [1], [2]]
    recorder = opened()
    recorder.refer("baseline")
    recorder.trial("c", {}, {}, {})
    recorder.trial("a", {}, {}, {"forget": 0.125})
    recorder.begin("b", lr=0.001, epochs=2)
    recorder.report("b", 1)
    for after in (recorder, opened()):
        runs = after.epochs(reached)
        assert [[row["epoch"] for row in rows] for rows in runs.values()] == epochs
        assert runs["a"][1]["forget_dice"] == 0.125
