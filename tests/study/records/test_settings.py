import ast
import inspect
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from study.records import settings as module
from study.records.constraints import ConstraintError
from study.records.settings import StudySettings, parse

CHANGEABLE = {"trials", "name", "studies", "tracking_uri", "concurrent", "resume", "verbose"}
CHANGEABLE |= {"evidence", "shadows", "forget_draws", "examine"}  # what is measured of trials that have ended
CHANGEABLE |= {"explain", "optuna_storage"}
CHANGEABLE |= {"storage", "address", "cpus_per_trial", "gpus_per_trial"}  # where it runs
OPTIONS = {"knobs": "set"}  # where the field has another name
FIELDS = [field.name for field in fields(StudySettings)]
BASE = StudySettings(space="noisy_label", cohort="decathlon:/data/Task04_Hippocampus")


def other_value(value):
    if isinstance(value, bool):
        return not value
    kinds = {int: 77, float: 0.123, str: "other", tuple: ("lr=1", "other=2"), type(None): 7}
    return {**kinds, type(Path()): Path("elsewhere")}[type(value)]


def help_texts():
    (tree,) = ast.parse(inspect.getsource(StudySettings)).body
    pairs = zip(tree.body, tree.body[1:], strict=False)
    return {
        node.target.id: after.value.value
        for node, after in pairs
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
    texts = help_texts()
    assert set(texts) == set(FIELDS)
    for name, text in texts.items():
        assert len(text) > 20
        assert f"--{OPTIONS.get(name, name).replace('_', '-')}" in shown
        assert " ".join(text.split()) in shown


@pytest.mark.parametrize("name", FIELDS)
def test_the_name_depends_on_what_is_computed_and_on_nothing_else(name):
    changed = replace(BASE, **{name: other_value(getattr(BASE, name))})
    if name == "name":
        assert changed.study_name == "other"
    else:
        assert (changed.study_name == BASE.study_name) == (name in CHANGEABLE)
    assert (name in BASE.computed) == (name not in CHANGEABLE)


def test_the_name_is_the_same_in_every_process():
    call = f"StudySettings(space={BASE.space!r}, cohort={BASE.cohort!r})"
    code = f"from study.records.settings import *; print({call}.study_name)"
    for hash_seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(module.__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == BASE.study_name


def test_name_family_and_folder_say_space_and_kind_of_cohort():
    assert BASE.study_name.startswith("noisy_label-decathlon-")
    assert len(BASE.study_name.rpartition("-")[2]) == 6
    assert BASE.family == "noisy_label-decathlon"
    assert replace(BASE, cohort="phantom").family == "noisy_label-phantom"
    assert replace(BASE, studies=Path("/x"), name="mine").folder == Path("/x/mine")


def test_plain_settings_survive_json():
    every = StudySettings(**{name: other_value(getattr(BASE, name)) for name in FIELDS})
    plain = json.loads(json.dumps(every.plain()))
    assert set(plain) == set(FIELDS)
    assert StudySettings.from_plain(plain) == every
    assert StudySettings.from_plain(json.loads(json.dumps(BASE.plain()))) == BASE
    assert StudySettings.from_plain(plain).computed == every.computed


@pytest.mark.parametrize(
    "change",
    [{"fix": "lr=1"}, {"knobs": None}, {"constraint": 3}, {"studies": None}],
    ids=lambda change: next(iter(change)),
)
def test_plain_settings_of_another_version_are_refused(change):
    with pytest.raises(TypeError):
        StudySettings.from_plain({**BASE.plain(), **change})


def test_plain_settings_that_lack_an_option_have_its_default_or_are_refused():
    plain = BASE.plain()
    assert StudySettings.from_plain({name: value for name, value in plain.items() if name != "grace"}) == BASE
    for name in ("knobs", "constraint", "studies"):
        with pytest.raises(KeyError, match=name):
            StudySettings.from_plain({other: value for other, value in plain.items() if other != name})


def test_constraints_are_the_retain_floor_and_what_was_given():
    settings = replace(BASE, retain_floor=0.75, constraint=("seconds<=60", " retain_dice >= 0.5 "))
    assert list(map(str, settings.constraints)) == ["retention>=0.75", "seconds<=60", "retain_dice>=0.5"]
    with pytest.raises(ConstraintError):
        _ = replace(BASE, constraint=("beauty>=1",)).constraints


def test_studies_go_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("LETHE_STUDIES", "/data/studies")
    assert StudySettings().studies == Path("/data/studies")
    monkeypatch.delenv("LETHE_STUDIES")
    assert StudySettings().studies == Path("studies")
