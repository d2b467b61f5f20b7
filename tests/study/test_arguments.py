import ast
import inspect
import re
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import pytest

from search_spaces.space import SPACES
from study.records import settings as module
from study.records.failure import StudyError
from study.records.settings import StudySettings
from study.run import parse

OPTIONS = {"knobs": "set"}  # where the field has another name
FIELDS = [field.name for field in fields(StudySettings)]
BASE = StudySettings(space="noisy_label", cohort="decathlon:/data/Task04_Hippocampus")


def help_texts():
    bodies = [node.body for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    return {
        node.target.id: after.value.value
        for body in bodies
        for node, after in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


def test_no_argument_gives_the_defaults():
    assert parse([]) == StudySettings()


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--space", "noisy_label"], "space", "noisy_label"),
        (["--cohort", "bids:/data/IXI brain"], "cohort", "bids:/data/IXI brain"),
        (["--forget", "s1, s2"], "forget", "s1, s2"),
        (["--forget-count", "3"], "forget_count", 3),
        (["--baseline-lr", "3e-4"], "baseline_lr", 3e-4),
        (["--retain-floor", "0.95"], "retain_floor", 0.95),
        (["--studies", "/somewhere/else"], "studies", Path("/somewhere/else")),
        (["--concurrent", "1"], "concurrent", 1),
        (["--set", "forget=ascent", "--set", "lr=1e-4..1e-3"], "knobs", ("forget=ascent", "lr=1e-4..1e-3")),
        (["--set", "epochs=5|10"], "knobs", ("epochs=5|10",)),
        (["--constraint", "seconds<=60", "--constraint", "a b"], "constraint", ("seconds<=60", "a b")),
        (["--sampler", "nsga2"], "sampler", "nsga2"),
        (["--no-enqueue"], "enqueue", False),
        (["--warm-start", "old"], "warm_start", "old"),
        (["--early-stopping"], "early_stopping", True),
        (["--grace", "3"], "grace", 3),
        (["--optuna-storage", "sqlite:///optuna.db"], "optuna_storage", "sqlite:///optuna.db"),
        (["--explain"], "explain", True),
        (["--objective", "retrain"], "objective", "retrain"),
        (["--horizons", "20,50"], "horizons", "20,50"),
        (["--seeds", "5"], "seeds", 5),
        (["--references", "1"], "references", 1),
        (["--verbose"], "verbose", True),
        (["-v"], "verbose", True),
    ],
)
def test_an_option_sets_its_field_and_no_other(arguments, field, value):
    assert parse(arguments) == replace(StudySettings(), **{field: value})


def test_options_are_laid_over_the_given_settings():
    before = replace(BASE, seed=5, trials=30)
    assert parse(["--trials", "60"], before) == replace(before, trials=60)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--trials", "many"],
        ["--objective", "beauty"],
        ["--sampler", "cmaes"],
        ["--fix", "lr=1"],
        ["--no-such-option", "1"],
        ["--depth"],
        ["stray"],
    ],
)
def test_a_wrong_command_line_exits_with_2_and_names_the_word(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(arguments)
    assert exit_.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_the_help_shows_every_field_with_its_text(capsys):
    with pytest.raises(SystemExit) as exit_:
        parse(["--help"])
    assert exit_.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(space in shown.partition("options")[0] for space in SPACES.names())
    texts = help_texts()
    assert set(texts) == set(FIELDS)
    for name, text in texts.items():
        assert len(text) > 20
        assert f"--{OPTIONS.get(name, name).replace('_', '-')}" in shown
        assert " ".join(text.split()) in shown


def test_the_help_is_short_at_the_top_and_its_program_is_the_one_that_was_called(capsys):
    with pytest.raises(SystemExit):
        parse(["--help"], program="lethe run")
    shown = capsys.readouterr().out
    top, _, rest = shown.partition("show this help message")
    assert len(top.splitlines()) <= 20
    groups = ("search", "cohort", "references", "evidence", "records", "cluster")
    assert [group for group in re.findall(r"(\w+) options ", rest) if group in groups] == [*groups]
    assert "lethe run --space noisy_label" in top
    assert "python -m" not in shown


CONFIG = """
space: mechanics
set: [lr=1e-4..1e-3, forget=ascent]
constraint: seconds<=600
forget: 007,008
trials: 12
baseline-lr: 1e-4
gpus_per_trial: auto
enqueue: false
"""


def test_a_file_holds_the_same_options_and_those_given_win(tmp_path):
    (tmp_path / "study.yaml").write_text(CONFIG)
    settings = StudySettings(
        space="mechanics",
        knobs=("lr=1e-4..1e-3", "forget=ascent"),
        constraint=("seconds<=600",),
        forget="007,008",
        trials=12,
        baseline_lr=1e-4,
        gpus_per_trial="auto",
        enqueue=False,
    )
    config = ["--config", str(tmp_path / "study.yaml")]
    assert parse(config) == settings
    assert parse(["--trials", "24", "--set", "lr=1", *config]) == replace(settings, trials=24, knobs=("lr=1",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("trails: 3\nspace: [a]\ntrials: many\n", ["no option 'trails'; did you mean trials?", "space", "trials"]),
        ("- space", ["must hold options"]),
        ("a: [", ["is not YAML"]),
        (None, ["cannot be read"]),
    ],
)
def test_what_is_wrong_in_a_file_names_file_and_option(content, said, tmp_path):
    file = tmp_path / "study.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StudyError) as raised:
        parse(["--config", str(file)])
    assert len(raised.value.problems) == len(said)
    for problem in raised.value.problems:
        assert problem.startswith(f"--config: {file}")
    for words in said:
        assert words in str(raised.value)


def test_a_study_that_goes_on_takes_no_file(tmp_path):
    (tmp_path / "study.yaml").write_text("trials: 3")
    with pytest.raises(StudyError, match="exclude each other"):
        parse(["--resume", "x", "--config", str(tmp_path / "study.yaml")])
