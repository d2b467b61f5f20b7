import math
import threading
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
from mlflow import MlflowClient

from study.recording import recorder as recording
from study.recording import tracker as tracking
from study.recording.mlflow_store import MlflowStore
from study.recording.recorder import records_of
from study.recording.run_contents import PARENT, StudyRuns, parent_tags
from study.recording.tracker import Tracker
from study.records.evidence import EVIDENCE
from study.records.rows import NetworkRow
from study.records.tables import history_table, references_table, subjects_table, trials_table
from study.records.trials import FAILED, FINISHED, PRUNED

FAMILY = "noisy_label-phantom"
FOUND = {
    **dict.fromkeys(EVIDENCE),
    **{"remembers": False, "streisand": True, "loss_auc": 0.75, "loss_auc_low": math.nan, "relearn_steps": math.inf},
    "evidence": "settings-1",
}
LOGGED = {"evidence/remembers": 0.0, "evidence/streisand": 1.0, "evidence/loss_auc": 0.75}


@pytest.fixture
def session(opened, store, tmp_path, monkeypatch):
    """Runs `work(recorder)` as a session that MLflow follows; gives the tracker's problem."""

    def run(work=None, result=None, uri=store, params=None, tags=None, ready=None):
        monkeypatch.setattr(tracking, "_PATIENCE", 20 if uri == store else 0.5)
        recorder = opened()
        connect = partial(MlflowStore, uri, FAMILY, "study-1", tmp_path / "art efacts")
        late = connect if ready is None else lambda answered: ready.wait(20) and connect(answered)
        tracker = Tracker(late, StudyRuns(recorder, params or {}, tags or {}), lambda line: None)
        if work is not None:
            work(recorder)
        if result is not None:
            recorder.close()
            recorder.result(records_of(recorder.folder), result)
        tracker.close()
        return tracker.problem

    return run


@pytest.fixture
def gone(closed_port):
    """URI of a server that is not there."""
    return f"http://127.0.0.1:{closed_port}"


@pytest.fixture
def points(store, runs_in, steps_in):
    """Run -> metric -> every (step, value) that the store holds."""
    return lambda: {
        name: {metric: steps_in(store, run, metric) for metric in run.data.metrics}
        for name, run in runs_in(store, FAMILY).items()
    }


def whole_study(recorder):
    recorder.refer("baseline")
    recorder.trial("a", {"forget": 0.5}, {"forget": 0.125})
    for name in ("a", "baseline"):
        recorder.gathered(name, FOUND)
    recorder.begin("b", lr=0.001, epochs=9)
    recorder.report("b", 1, forget=0.75)


def test_a_run_has_a_new_state_once_its_row_or_an_epoch_was_written_and_when_it_was_interrupted(opened):
    recorder = opened()
    runs, seen = StudyRuns(recorder, {}, {}), {}

    def changed(over=False):
        states, before = runs.states(over), dict(seen)
        seen.update(states)
        return {name for name, state in states.items() if state != before.get(name)}

    assert changed() == {PARENT}
    recorder.refer("baseline")
    recorder.trial("a", {"retain": 0.82, "forget": 0.5})
    assert changed() == {PARENT, "baseline", "a"}
    recorder.begin("b", lr=0.001, epochs=1)
    assert changed() == {"b"}
    recorder.report("b", 1, retain=0.85, forget=0.25)
    assert changed() == {"b"}
    recorder.ended("b", FINISHED, diverged=False)  # a loses its place on the front
    assert changed() == {PARENT, "a", "b"}
    recorder.gathered("baseline", FOUND)
    assert changed() == {"baseline"}
    recorder.begin("c", lr=0.001, epochs=1)
    assert changed() == {"c"}
    assert changed() == set()
    assert changed(over=True) == {PARENT, "c"}


def test_a_trials_run_has_mean_and_standard_deviation_over_its_recipes_further_seeds(opened):
    recorder = opened()
    recorder.trial("a", {"forget": 0.5})
    runs = StudyRuns(recorder, {}, {})

    def sent():
        state = {"a": runs.states(False)["a"]}
        ((_, content),) = runs.contents(state, lambda name: 1)
        return state, {name: value for name, value in content.values.items() if name.startswith("repeats/")}

    before, nothing = sent()
    for seed, gap in enumerate((0.25, 0.5)):
        recorder.repeated(NetworkRow(id="a", seed=seed, metrics={"dice_gap": gap}))
    after, values = sent()
    assert nothing == {}
    assert after != before
    assert values == pytest.approx({"repeats/dice_gap_mean": 0.375, "repeats/dice_gap_sd": 0.125 * 2**0.5})


def test_a_trial_is_a_run_with_knobs_marks_and_epochs(session, store, runs_in, points):
    assert (
        session(lambda recorder: recorder.trial("a", {"forget": 0.5}, {"retain": math.nan, "forget": 0.125})) is None
    )
    run = runs_in(store, FAMILY)["a"]
    assert run.data.params == {"lr": "0.001", "epochs": "2", "seed": "0", "strategy": "noisy_label"}
    tags = {"status": "finished", "feasible": "false", "on_front": "false", "diverged": "false", "kind": "trial"}
    assert run.data.tags.items() >= {**tags, "strategy": "noisy_label", "study": "study-1", "name": "a"}.items()
    assert run.info.run_name == "noisy_label lr=1.0e-03 epochs=2"
    metrics = points()["a"]
    sets = {f"{subset}/{metric}" for subset in ("retain", "forget", "heldout") for metric in ("dice", "mae")}
    gaps = {f"gap/{name}" for name in ("dice", "mae", "retrain", "unseen")}
    assert metrics.keys() == {*sets, *gaps, "retention", "epoch", "training/loss", "training/seconds"}
    assert metrics["forget/dice"] == [(1, 0.5), (2, 0.125)]
    assert (metrics["retention"][0], math.isnan(metrics["retention"][1][1])) == ((1, 0.85 / 0.9), True)


def test_runs_are_running_while_they_run_and_ended_as_they_ended(session, store, runs_in, wait_until):
    def work(recorder):
        recorder.trial("finished", {})
        recorder.trial("failed", status=FAILED)
        recorder.trial("pruned", {}, status=PRUNED)
        recorder.begin("cut", epochs=1)
        wait_until(lambda: statuses().get("cut") == "RUNNING")
        assert statuses()[PARENT] == "RUNNING"

    def statuses():
        return {name: run.info.status for name, run in runs_in(store, FAMILY).items()}

    ended = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "cut": "KILLED"}
    for result, parent in ((None, "FAILED"), (False, "KILLED"), (True, "FINISHED")):
        assert session(work if result is None else None, result) is None
        assert statuses() == {**ended, PARENT: parent}


def test_a_place_on_the_front_that_is_lost_is_lost_in_mlflow(session, store, runs_in, wait_until):
    def work(recorder):
        recorder.trial("a", {"retain": 0.82, "forget": 0.5})
        wait_until(lambda: runs_in(store, FAMILY).get("a"))
        recorder.trial("b", {"retain": 0.85, "forget": 0.25})

    assert session(work) is None
    on_front = {name: run.data.tags.get("on_front") for name, run in runs_in(store, FAMILY).items()}
    assert on_front == {PARENT: None, "a": "false", "b": "true"}


def test_the_parent_has_the_settings_and_the_best_trial(session, store, runs_in):
    cohort = SimpleNamespace(digest="c" * 12)
    description = SimpleNamespace(space="s", cohort=cohort, commit="1a", versions={"ray": "2"})
    work = partial(session, params={"seed": 0}, tags=parent_tags(description))
    assert work(result=False) is None
    parent = runs_in(store, FAMILY)[PARENT]
    assert (parent.data.params, parent.data.metrics) == ({"seed": "0"}, {})
    tags = {"kind": "study", "space": "s", "cohort": "c" * 12, "version.ray": "2", "mlflow.source.git.commit": "1a"}
    assert parent.data.tags.items() >= {**tags, "mlflow.note.content": "No trial is feasible so far."}.items()
    for name, forget in (("a", 0.5), ("b", 0.125)):
        assert work(lambda recorder, name=name, forget=forget: recorder.trial(name, {"forget": forget}), True) is None
        parent = runs_in(store, FAMILY)[PARENT]
        assert (parent.data.tags["best_trial"], parent.data.metrics["forget/dice"]) == (name, forget)
        assert f"**noisy_label lr=1.0e-03 epochs=1** (`{name}`)" in parent.data.tags["mlflow.note.content"]
        assert f"| forget dice | {forget:.3f} |" in parent.data.tags["mlflow.note.content"]


def test_every_table_can_be_read_back_from_the_artifacts(session, opened, store, runs_in, tmp_path):
    def work(recorder):
        whole_study(recorder)
        (recorder.folder / "pareto.html").write_text("<p>front")

    assert session(work, True) is None
    client, parent = MlflowClient(store), runs_in(store, FAMILY)[PARENT].info.run_id
    names = ("history", "references", "subjects", "trials")
    assert sorted(entry.path for entry in client.list_artifacts(parent)) == sorted([*names, "pareto.html"])
    folder = tmp_path / "s"
    tables = [history_table(folder), references_table(folder), subjects_table(folder)]
    for name, table in zip(names, [*tables, trials_table(folder, opened().KNOBS)], strict=True):
        copy = client.download_artifacts(parent, name, tmp_path)
        pd.testing.assert_frame_equal(pd.read_parquet(copy), table.read().to_pandas())
    assert list((tmp_path / "art efacts").rglob("pareto.html"))


def test_what_mlflow_lacks_is_sent_once_by_the_next_session(session, store, points, runs_in, gone):
    assert "refused" in session(whole_study, uri=gone)
    for _ in range(2):
        assert session() is None
        metrics, baseline = points(), runs_in(store, FAMILY)["baseline"]
        assert set(metrics) == {PARENT, "baseline", "a", "b"}
        assert metrics["a"]["forget/dice"] == [(1, 0.5), (2, 0.125)]
        assert metrics["b"]["forget/dice"] == [(1, 0.75)]
        assert metrics["baseline"]["training/loss"] == [(1, 2.0), (2, 1.0)]
        assert metrics["baseline"]["retain/dice"] == [(2, 0.9)]
        for name in ("a", "baseline"):
            found = {key: value for key, value in metrics[name].items() if key.startswith("evidence/")}
            assert found == {key: [(0, value)] for key, value in LOGGED.items()}
        assert baseline.data.params == {"reference": "baseline", "digest": "d" * 12}
        assert (baseline.info.status, baseline.data.tags["status"]) == ("FINISHED", "finished")


def test_a_trial_that_goes_on_while_mlflow_catches_up_has_each_epoch_once(session, points, gone):
    """Its first epoch is in the table alone, the next in memory when the store comes up, the last comes later."""
    ready = threading.Event()

    def goes_on(recorder):
        recorder.begin("b", lr=0.001, epochs=9)
        recorder.report("b", 2)
        ready.set()
        recorder.report("b", 3)

    assert "refused" in session(whole_study, uri=gone)
    assert session(goes_on, ready=ready) is None
    assert [step for step, _ in points()["b"]["training/loss"]] == [1, 2, 3]


@pytest.mark.slow
def test_many_runs_that_mlflow_missed_arrive_though_only_some_are_in_memory(session, points, monkeypatch):
    monkeypatch.setattr(recording, "_RECENT", 2)
    monkeypatch.setattr(tracking, "_TOGETHER", 7)

    def work(recorder):
        for number in range(30):
            recorder.trial(f"t{number}", {"forget": number / 64}, {"forget": number / 32})

    assert session(work) is None
    assert {name: metrics.get("forget/dice") for name, metrics in points().items()} == {
        PARENT: None,
        **{f"t{number}": [(1, number / 64), (2, number / 32)] for number in range(30)},
    }
