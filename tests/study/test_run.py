import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from unittest.mock import patch

import pytest

from study import run
from study.networks.references import FitError
from study.planning.plan import make_plan
from study.records.failure import HaltedError, StudyError
from study.records.options import option_of
from study.records.settings import StudySettings
from study.session import study_record

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
    monkeypatch.setattr("study.session.run_study", lambda plan, console, interrupts: plans.append(plan) or True)
    return plans


@pytest.fixture
def arguments(settings):
    return ["--space", "noisy_label", "--cohort", settings.cohort, "--studies", str(settings.studies)]


@pytest.fixture
def started(settings):
    """A study of seed 3 that has begun: its folder and study.json, as a session writes it."""
    given = {"knobs": ("noise_rate=0.7..1",), "constraint": ("seconds<=600",), "sampler": "nsga2"}
    plan = make_plan(replace(settings, name="mine", seed=3, forget="anna,bert", trials=8, **given))
    plan.settings.folder.mkdir(parents=True)
    study_record(plan, {}).write(plan.settings.folder)
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
        assert f"--{field.name.replace('_', '-').replace('knobs', 'set')}" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--space", "paper", "--explain"],
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (
                *(["--help"], ["--trials", "many"], ["--resume", "nothing"]),
                *(["--space", space, "--explain"] for space in ("noisy_label", "mechanics")),
            )
        ),
    ],
)
def test_what_needs_no_study_imports_neither_torch_nor_ray(arguments, tmp_path):
    code = (
        "import sys; from study import run\n"
        "try: run.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(); print([name for name in ('torch', 'ray', 'mlflow', 'monai') if name in sys.modules])"
    )
    done = python("-c", code, *arguments, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("token", "mode", "shown"),
    [(False, None, "None"), (True, None, "token"), (True, "disabled", "disabled"), (False, "token", "token")],
)
def test_rays_token_is_shown_where_there_is_one_unless_told_otherwise(token, mode, shown, tmp_path):
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray/auth_token").write_text("0" * 64)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    variables |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(run.__file__).parents[1])}
    variables |= {"RAY_AUTH_MODE": mode} if mode else {}
    code = "import os, study; print(os.environ.get('RAY_AUTH_MODE'))"
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == shown


@pytest.mark.slow
def test_wrong_settings_exit_with_2_and_one_line_each(tmp_path):
    wrong = ["--space", "nope", "--depth", "7", "--trials", "0", "--shape", "1,2"]
    done = python("-m", "study.run", *wrong, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert sorted(line.split()[1] for line in lines) == ["--depth", "--shape", "--space:", "--trials"]
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


def test_a_wrong_constraint_is_pointed_at(arguments, capsys, planned):
    wrong = [*arguments, "--constraint", "retain_dize >= 1", "--constraint", "seconds<6", "--set", "lr=fast"]
    code, lines = outcome(wrong, capsys)
    assert (code, planned) == (2, [])
    assert [line for line in lines if not line.startswith("error: --set: lr=fast: ")] == [
        "error: --constraint: no metric 'retain_dize'; did you mean retain_dice?",
        "    retain_dize >= 1",
        "    ^^^^^^^^^^^",
        "error: --constraint: expected >= or <=, but got '<'",
        "    seconds<6",
        "           ^",
    ]


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (FitError("the baseline fit diverged in epoch 3"), 1, ["error: the baseline fit diverged in epoch 3"]),
        (HaltedError("the disk is [full]"), 1, ["error: the disk is [full]"]),
        (StudyError("--optuna-storage: [x] is another's"), 2, ["error: --optuna-storage: [x] is another's"]),
        (StudyError("study 's' is being run by [x]"), 2, ["error: study 's' is being run by [x]"]),
        (StudyError(["--examine: a", "--warm-start: b"]), 2, ["error: --examine: a", "error: --warm-start: b"]),
        (KeyboardInterrupt(), 130, []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_stops_a_study_decides_the_exit_code(error, code, lines, arguments, capsys, monkeypatch, cache):
    def stop(plan, console, interrupts):
        raise error

    monkeypatch.setattr("study.session.run_study", stop)
    assert outcome(arguments, capsys) == (code, lines)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("saved", [True, False])
def test_a_signal_decides_the_exit_code_and_its_handlers_are_gone_afterwards(
    number, code, saved, arguments, capsys, monkeypatch, cache
):
    """A session that saves its trials says that it is not complete; one that cannot is cut off."""

    def run_study(plan, console, interrupts):
        interrupts.told = (lambda: None) if saved else None
        os.kill(os.getpid(), number)
        time.sleep(0.1)
        assert saved
        return False

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr("study.session.run_study", run_study)
    assert run.main(arguments) == code
    said = capsys.readouterr()
    assert said.err == ""
    assert ("The same command continues" in said.out) == (not saved)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_space_is_explained_without_reading_a_cohort(capsys, planned, tmp_path):
    arguments = ["--space", "mechanics", "--cohort", f"bids:{tmp_path}/none", "--studies", str(tmp_path / "studies")]
    assert run.main([*arguments, "--explain", "--set", "lr=2e-3"]) == 0
    said = capsys.readouterr()
    assert "held at 0.002" in said.out
    assert "noise_image" in said.out
    assert (said.err, planned, list(tmp_path.iterdir())) == ("", [], [])
    assert outcome([*arguments, "--explain", "--set", "lr=x"], capsys)[0] == 2


def test_a_study_whose_published_configurations_lie_elsewhere_is_planned(arguments, capsys, planned):
    assert outcome([*arguments, "--space", "mechanics", "--set", "forget=ascent|noise_image"], capsys) == (0, [])
    assert [start["forget"] for start in planned[0].space.starts] == ["ascent", "noise_image"]


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


@pytest.mark.parametrize(
    "options", [["--set", "noise_rate=0.7..1"], ["--constraint", "seconds<=600"], ["--sampler", "nsga2"]]
)
def test_the_studys_own_options_beside_resume_are_no_conflict(options, started, capsys, planned):
    arguments = ["--resume", "mine", "--studies", str(started.settings.studies), *options]
    assert outcome(arguments, capsys) == (0, [])
    assert planned[0].settings == started.settings


def test_raw_ids_beside_resume_are_no_conflict(started, capsys, planned):
    options = ["--resume", "mine", "--studies", str(started.settings.studies), "--forget", "bert,anna"]
    assert outcome(options, capsys) == (0, [])
    assert planned[0].settings == started.settings


def test_a_resume_of_an_unknown_study_lists_those_there_are(started, capsys, planned):
    code, lines = outcome(["--resume", "yours", "--studies", str(started.settings.studies)], capsys)
    assert code == 2
    (line,) = lines
    assert line.endswith("there are mine")
    code, lines = outcome(["--resume", "yours", "--studies", str(started.settings.studies / "none")], capsys)
    assert code == 2
    assert lines[0].endswith("there are none")
    assert not planned


OTHER = {
    "seed": ["--seed", "4"],
    "forget": ["--forget", "anna"],
    "knobs": ["--set", "lr=1e-3"],
    "constraint": ["--constraint", "seconds<=700"],
    "retain_floor": ["--retain-floor", "0.5"],
    "depth": ["--depth", "18"],
    "sampler": ["--sampler", "tpe"],
    "enqueue": ["--no-enqueue"],
    "early_stopping": ["--early-stopping"],
    "objective": ["--objective", "front"],
}


@pytest.mark.parametrize(
    ("by", "field"),
    [
        *(("resume", name) for name in ("seed", "knobs")),
        ("name", "forget"),
        *(pytest.param("resume", name, marks=pytest.mark.slow) for name in sorted(OTHER.keys() - {"seed", "knobs"})),
        *(pytest.param("name", name, marks=pytest.mark.slow) for name in ("seed", "knobs", "constraint")),
    ],
)
def test_other_settings_under_the_same_name_are_a_conflict(by, field, started, arguments, capsys, planned):
    own = ["--seed", "3", "--forget", "anna,bert", "--set", "noise_rate=0.7..1", "--constraint", "seconds<=600"]
    again = {
        "resume": ["--resume", "mine", *arguments[-2:]],
        "name": [*arguments, "--name", "mine", *own, "--sampler", "nsga2"],
    }
    assert outcome(again[by], capsys) == (0, [])
    planned.clear()
    code, lines = outcome([*again[by], *OTHER[field]], capsys)
    assert (code, len(lines), planned) == (2, 1, [])
    assert f"'mine' was started with other settings: {option_of(field)} (" in lines[0]
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
CORRUPT += ['{"settings": {"knobs": null, "constraint": [], "studies": "x"}, "cohort": {"digest": "x"}}']
CORRUPT += ['{"settings": {"fix": ""}, "cohort": {"digest": "x"}, "references": {}}']  # of another version


@pytest.mark.parametrize("content", CORRUPT)
@pytest.mark.parametrize("by", ["resume", pytest.param("name", marks=pytest.mark.slow)])
def test_a_corrupt_study_json_is_named_without_a_traceback(by, content, started, arguments, capsys, planned):
    path = started.settings.folder / "study.json"
    path.write_text(content)
    options = ["--resume", "mine", *arguments[-2:]] if by == "resume" else [*arguments, "--name", "mine"]
    code, lines = outcome(options, capsys)
    assert (code, len(lines), planned) == (2, 1, [])
    assert "mine" in lines[0]
    assert path.read_text() == content
