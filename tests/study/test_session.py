import io
import os

import pytest
import ray
from rich.console import Console

from study.interrupts import Interrupts
from study.plan import PlanError, make_plan
from study.records import write_json
from study.session import alone, records_of, run_study


def test_trials_of_another_baseline_are_not_mixed_in(settings):
    plan = make_plan(settings)
    plan.settings.folder.mkdir(parents=True)
    write_json(plan.settings.folder / "study.json", {"references": {"baseline": {"digest": "1"}}})
    with pytest.raises(PlanError, match="another baseline"):
        run_study(plan, Console(file=io.StringIO()), Interrupts())
    assert not ray.is_initialized()


@pytest.mark.parametrize("end", ["exits", "is killed"])
def test_a_folder_that_another_process_holds_is_refused_until_that_one_ends(tmp_path, holder, end):
    folder = tmp_path / "studies/s"
    process = holder(folder)
    for _ in range(2):
        with pytest.raises(PlanError) as caught, alone(folder):
            pytest.fail("two at once")
        (problem,) = caught.value.problems
        assert problem.startswith("study 's' is being run by ")
        assert f"process {process.pid} on {os.uname().nodename}" in problem
    process.kill() if end == "is killed" else process.stdin.close()
    process.wait()
    with alone(folder):
        owner = (folder / ".owner").read_text()
    assert str(os.getpid()) in owner
    with alone(folder):
        pass


def test_a_study_that_another_process_runs_is_refused_before_any_work(settings, holder):
    """Neither Ray nor a table or MLflow store comes about."""
    plan = make_plan(settings)
    holder(plan.settings.folder)
    with pytest.raises(PlanError, match="is being run by process"):
        run_study(plan, Console(file=io.StringIO()), Interrupts())
    assert not ray.is_initialized()
    assert {path.name for path in plan.settings.folder.iterdir()} <= {".lock", ".owner"}
    assert {path.name for path in plan.settings.studies.iterdir()} == {plan.settings.name}


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), alone(tmp_path):
        raise ZeroDivisionError
    with alone(tmp_path):
        pass


TABLES = {"trials", "history", "subjects", "references", "sequence"}


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
    assert record["settings"]["knobs"] == ["noise_rate=1.0", "forget_weight=1.0", "lr=3e-4|1e-3"]
    history, references = done.table("history"), ("baseline", "retrained", "retrained-1", "retrained-2")
    assert set(history.id) == {*references, *done.trials.index}
    for name, epochs in history.groupby("id").epoch:
        assert epochs.tolist() == [*range(1, 31 if name in references else 4)]
