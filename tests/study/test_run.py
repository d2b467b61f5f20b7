import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from unittest.mock import patch

import pytest

from study import run
from study.plan import make_plan
from study.records import write_json
from study.references import FitError
from study.session import _description
from study.settings import StudySettings
from trainables.med3d import WeightsError

ROOT = Path(run.__file__).parents[1]


@pytest.fixture(autouse=True)
def environment():
    """`main` sets defaults for the libraries: they end with the test."""
    with patch.dict(os.environ):
        yield


@pytest.fixture
def planned(monkeypatch):
    """The plans that would have run; what a session does is tested in test_end_to_end."""
    plans = []
    monkeypatch.setattr("study.session.run_study", lambda plan, console: plans.append(plan) or True)
    return plans


@pytest.fixture
def arguments(settings):
    return ["--space", "noisy_label", "--cohort", settings.cohort, "--studies", str(settings.studies)]


@pytest.fixture
def started(settings):
    """A study of seed 3 that has begun: its folder and study.json, as a session writes it."""
    plan = make_plan(replace(settings, name="mine", seed=3, forget="anna,bert", trials=8))
    plan.settings.folder.mkdir(parents=True)
    write_json(plan.settings.folder / "study.json", _description(plan, {}))
    return plan


def outcome(arguments, capsys):
    """Exit code and the lines on standard error."""
    try:
        code = run.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    return code, capsys.readouterr().err.splitlines()


def python(*command, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, check=False, **options
    )


def test_help_mentions_every_option_and_exits_with_0(tmp_path):
    done = python("-m", "study.run", "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "python -m study.run --space noisy_label" in " ".join(done.stdout.split())
    for field in fields(StudySettings):
        assert f"--{field.name.replace('_', '-')}" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["--help"], ["--trials", "many"], ["--resume", "nothing"]])
def test_what_needs_no_study_imports_neither_torch_nor_ray(arguments, tmp_path):
    code = (
        "import sys; from study import run\n"
        "try: run.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(); print([name for name in ('torch', 'ray', 'mlflow', 'monai', 'optuna') if name in sys.modules])"
    )
    done = python("-c", code, *arguments, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_settings_exit_with_2_and_one_line_each(tmp_path):
    wrong = ["--space", "nope", "--depth", "7", "--trials", "0", "--shape", "1,2"]
    done = python("-m", "study.run", *wrong, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["error:", word] for word in ("--space:", "--depth", "--trials", "--shape")
    ]
    assert not list(tmp_path.iterdir())


def test_a_broken_cohort_exits_with_2_and_one_line_each(arguments, cohort_list, capsys, settings, planned):
    (cohort_list.parent / "image/bert.nii.gz").unlink()
    (cohort_list.parent / "label/emil.nii.gz").write_bytes(b"")
    code, lines = outcome([*arguments, "--forget", "anna"], capsys)
    assert code == 2
    assert [line.split()[:2] for line in lines] == [["error:", "bert"], ["error:", "emil"]]
    assert not settings.studies.exists()
    assert not planned


@pytest.mark.parametrize("name", ["[old]", "[/x]", "[bold]"])
def test_brackets_in_a_path_are_printed_as_they_are(name, arguments, capsys, tmp_path):
    code, lines = outcome([*arguments, "--cohort", f"medicalnet:{tmp_path}/{name}/list.txt"], capsys)
    assert code == 2
    assert f"{tmp_path}/{name}/list.txt: no such file" in lines[0]


def test_good_settings_run_with_exit_0(arguments, capsys, planned):
    assert outcome([*arguments, "--forget", "anna"], capsys) == (0, [])
    (plan,) = planned
    assert len(plan.split.forget) == 1
    assert plan.settings.name.startswith("noisy_label-medicalnet-")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (FitError("the baseline fit diverged in epoch 3"), 1, "diverged in epoch 3"),
        (WeightsError("weights.pth: no checkpoint"), 2, "weights.pth: no checkpoint"),
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_what_stops_a_study_decides_the_exit_code(error, code, words, arguments, capsys, monkeypatch, cache):
    def stop(plan, console):
        raise error

    monkeypatch.setattr("study.session.run_study", stop)
    found, lines = outcome(arguments, capsys)
    assert found == code
    assert lines == ([f"error: {words}"] if code == 2 else [f"error: the baseline fit {words}"] if code == 1 else [])


def test_an_interrupted_session_exits_with_130(arguments, capsys, monkeypatch, cache):
    monkeypatch.setattr("study.session.run_study", lambda plan, console: False)
    assert outcome(arguments, capsys) == (130, [])


def test_a_resume_takes_the_stored_settings_and_lays_the_given_ones_over(started, capsys, planned):
    where = ["--studies", str(started.settings.studies)]
    assert outcome(["--resume", "mine", *where], capsys) == (0, [])
    assert outcome(
        ["--resume", "mine", *where, "--trials", "20", "--concurrent", "1", "-v", "--name", "b"], capsys
    ) == (0, [])
    first, second = planned
    assert (first.settings, first.split, first.data.subsets) == (
        started.settings,
        started.split,
        started.data.subsets,
    )
    assert second.settings == replace(started.settings, trials=20, concurrent=1, verbose=True)


def test_raw_ids_beside_resume_are_no_conflict(started, capsys, planned):
    options = ["--resume", "mine", "--studies", str(started.settings.studies), "--forget", "bert,anna"]
    assert outcome(options, capsys) == (0, [])
    assert planned[0].settings == started.settings


def test_a_resume_of_an_unknown_study_lists_those_there_are(started, capsys, planned):
    code, lines = outcome(["--resume", "yours", "--studies", str(started.settings.studies)], capsys)
    assert code == 2
    (line,) = lines
    assert line.endswith("studies there: mine")
    code, lines = outcome(["--resume", "yours", "--studies", str(started.settings.studies / "none")], capsys)
    assert code == 2
    assert lines[0].endswith("studies there: none")
    assert not planned


@pytest.mark.parametrize(
    "options", [["--seed", "4"], ["--depth", "18"], ["--forget", "anna"], ["--retain-floor", "0.5"]]
)
@pytest.mark.parametrize("by", ["resume", "name"])
def test_other_settings_under_the_same_name_are_a_conflict(by, options, started, arguments, capsys, planned):
    again = {
        "resume": ["--resume", "mine", *arguments[-2:]],
        "name": [*arguments, "--name", "mine", "--seed", "3", "--forget", "anna,bert"],
    }
    assert outcome(again[by], capsys) == (0, [])
    planned.clear()
    code, lines = outcome([*again[by], *options], capsys)
    assert (code, len(lines), planned) == (2, 1, [])
    assert f"'mine' was started with other settings: {options[0][2:].replace('-', '_')} (" in lines[0]
    assert "anna" not in lines[0]


def test_files_that_changed_under_a_study_are_a_conflict(started, capsys, planned, cohort_list):
    image = cohort_list.parent / "image/carla.nii.gz"
    image.write_bytes((cohort_list.parent / "image/dora.nii.gz").read_bytes())
    (cohort_list.parent / "image/dora.nii.gz").unlink()
    os.link(cohort_list.parent / "label/dora.nii.gz", cohort_list.parent / "image/dora.nii.gz")
    code, lines = outcome(["--resume", "mine", "--studies", str(started.settings.studies)], capsys)
    assert (code, len(lines), planned) == (2, 1, [])
    assert "the cohort's files have changed" in lines[0]


CORRUPT = ['{"settings": {"spa', "[]", "{}", '{"settings": null}', '{"settings": {"colour": "red"}}']


@pytest.mark.parametrize("content", CORRUPT)
@pytest.mark.parametrize("by", ["resume", "name"])
def test_a_corrupt_study_json_is_named_without_a_traceback(by, content, started, arguments, capsys, planned):
    path = started.settings.folder / "study.json"
    path.write_text(content)
    options = ["--resume", "mine", *arguments[-2:]] if by == "resume" else [*arguments, "--name", "mine"]
    code, lines = outcome(options, capsys)
    assert (code, len(lines), planned) == (2, 1, [])
    assert "mine" in lines[0]
    assert path.read_text() == content
