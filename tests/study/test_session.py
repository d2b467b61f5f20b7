import errno
import io
from functools import partial
from pathlib import Path

import pytest
from ray.tune import TuneError
from rich.console import Console

from analysis.report import main as report
from study.networks.session import Reference
from study.planning.plan import make_plan
from study.recording.mlflow_store import MlflowStore
from study.recording.recorder import Recorder, records_of
from study.recording.run_contents import StudyRuns
from study.recording.tracker import Tracker
from study.records.failure import StudyError
from study.records.study_record import read_record
from study.session import _ended, run_study, study_record
from study.terminal.interrupts import Interrupts


def test_trials_of_another_baseline_are_not_mixed_in(settings, no_ray):
    plan = make_plan(settings)
    plan.settings.folder.mkdir(parents=True)
    study_record(plan, {"baseline": Reference("1", 0, {}, {}, [], {})}).write(plan.settings.folder)
    with pytest.raises(StudyError, match="another baseline"):
        run_study(plan, Console(file=io.StringIO()), Interrupts())


@pytest.mark.slow
def test_a_study_that_another_process_runs_is_refused_before_any_work(settings, holder, no_ray):
    """Neither Ray nor a table or MLflow store comes about."""
    plan = make_plan(settings)
    holder(plan.settings.folder)
    with pytest.raises(StudyError, match="is being run by process"):
        run_study(plan, Console(file=io.StringIO()), Interrupts())
    assert {path.name for path in plan.settings.folder.iterdir()} <= {".lock", ".owner"}
    assert {path.name for path in plan.settings.studies.iterdir()} == {plan.settings.name}


@pytest.mark.parametrize(
    ("source", "options", "address"),
    [
        ("--address", ("--address", "127.0.0.1:1"), "local"),
        pytest.param("RAY_ADDRESS", (), "127.0.0.1:1", marks=pytest.mark.slow),
    ],
)
def test_a_cluster_that_does_not_answer_is_one_clear_error_before_anything_else(
    source, options, address, settings, run_of, monkeypatch, cache
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    where = ("--space", "noisy_label", "--cohort", settings.cohort, "--studies", str(settings.studies))
    code, output = run_of(cache, *where, *options)
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith(f"error: {source}: no Ray cluster answers at 127.0.0.1:1")
    assert not settings.studies.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "FAILED"),
        (TuneError("stuck"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_however_a_session_ends_its_tables_are_merged_and_the_parent_run_has_ended(
    tmp_path, store, runs_in, error, status
):
    (stored,) = (Path(__file__).parents[1] / "data/studies-of-0.1").glob("noisy_label-*")
    recorder = Recorder(tmp_path, read_record(stored))
    connect = partial(MlflowStore, store, "family", "s", tmp_path / "artifacts")
    tracker = Tracker(connect, StudyRuns(recorder, {}, {}), lambda text: None)

    def end_early():
        with _ended(recorder, tracker):
            recorder.started({"id": "a", "strategy": "noisy_label", "seed": 0, "knobs": {"lr": 0.1}})
            raise error

    with pytest.raises(type(error)):
        end_early()
    assert [file.suffix for file in (tmp_path / "trials").iterdir()] == [".parquet"]
    assert runs_in(store, "family")["study"].info.status == status


TABLES = {"trials", "history", "subjects", "references", "requests"}


def test_the_records_are_tables_and_pages_and_nothing_else(done):
    paths = [path.relative_to(done.folder) for path in records_of(done.folder)]
    assert {path.parts[0] for path in paths if path.suffix == ".parquet"} == TABLES
    pages = {f"requests_table.{kind}" for kind in ("csv", "md", "html")} | {"pareto.html", "study.json"}
    assert {str(path) for path in paths if path.suffix != ".parquet"} == pages


def test_a_finished_study_has_one_file_a_table_and_says_what_it_was(done):
    for name in TABLES:
        (file,) = (done.folder / name).iterdir()
        assert file.suffix == ".parquet"
    record = done.record
    assert record["constraints"] == ["retention>=0.81"]
    assert [record["trial_cpus"], *done.trials.cpus] == [1, 1, 1]
    assert record["settings"]["knobs"] == ["noise_rate=1.0", "forget_weight=1.0", "lr=1e-4|1e-2"]
    history, references = done.table("history"), ("baseline", "retrained", "retrained-1", "retrained-2")
    assert set(history.id) == {*references, *done.trials.index}
    for name, epochs in history.groupby("id").epoch:
        assert epochs.tolist() == [*range(1, 21 if name in references else 4)]


def test_the_report_of_a_study_has_its_numbers_and_names_nobody(done, tmp_path):
    assert report(["s", "--studies", str(done.studies), "--to", str(tmp_path)]) == 0
    row, pages = done.trials.loc[done.front], [tmp_path / f"report.{kind}" for kind in ("html", "md")]
    for page in pages:
        content = page.read_text()
        assert not [who for who in done.people if who in content]
        assert all(who in content for subset in done.record["split"].values() for who in subset)
        assert f"retention {row.retention:.3f} [" in content
        assert "sequential" in content  # of the requests
        assert "1 of 2 trials are on the front" in content
