import hashlib
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from study.records import settings as module
from study.records.constraints import ConstraintError
from study.records.failure import StudyError
from study.records.options import DEPTHS
from study.records.settings import StudySettings
from trainables.med3d import DEPTHS as NETWORKS

CHANGEABLE = {"trials", "name", "studies", "tracking_uri", "concurrent", "resume", "verbose"}
CHANGEABLE |= {
    "evidence",
    "references",
    "margin",
    "shadows",
    "forget_draws",
    "examine",
    "repeats",
}  # what is measured of trials that have ended
CHANGEABLE |= {"explain", "optuna_storage"}
CHANGEABLE |= {"storage", "address", "cpus_per_trial", "gpus_per_trial"}  # where it runs
FIELDS = [field.name for field in fields(StudySettings)]
BASE = StudySettings(space="noisy_label", cohort="decathlon:/data/Task04_Hippocampus")


OTHER = {
    **{"constraint": ("seconds<=1", "seconds>=0"), "knobs": ("lr=1", "other=2"), "studies": Path("elsewhere")},
    **{
        "baseline_augment": "flip",
        "objective": "front",
        "sampler": "grid",
        "shape": "16,24,32",
        "horizons": "2,4",
        "depth": 18,
    },
    **{"address": "head:6379", "baseline_lr": 0.123, "retain_floor": 0.123, "margin": 0.123},
}


def other_value(name):
    value = getattr(BASE, name)
    if isinstance(value, bool):
        return not value
    return OTHER.get(name, {int: 77, str: "other", type(None): 7}.get(type(value)))


@pytest.mark.parametrize("name", FIELDS)
def test_the_name_depends_on_what_is_computed_and_on_nothing_else(name):
    changed = replace(BASE, **{name: other_value(name)})
    if name == "name":
        assert changed.study_name == "other"
    else:
        assert (changed.study_name == BASE.study_name) == (name in CHANGEABLE)
    assert (name in BASE.lasting) == (name not in CHANGEABLE)
    assert set(changed.computed) == {"space", "cohort", name} - CHANGEABLE


def test_an_option_at_its_default_leaves_a_study_its_name():
    """So options to come rename nothing; these names are the ones that format 2 gives, for good."""
    assert StudySettings(space="noisy_label").computed == {"space": "noisy_label"}
    digest = hashlib.sha256(b'{"space":"noisy_label"}').hexdigest()
    assert StudySettings(space="noisy_label").study_name == f"noisy_label-phantom-{digest[:6]}"


@pytest.mark.slow
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
    every = StudySettings(**{name: other_value(name) for name in FIELDS})
    plain = json.loads(json.dumps(every.plain()))
    assert set(plain) == set(FIELDS)
    assert StudySettings.from_plain(plain) == every
    assert StudySettings.from_plain(json.loads(json.dumps(BASE.plain()))) == BASE
    assert StudySettings.from_plain(plain).computed == every.computed


def test_plain_settings_that_lack_an_option_have_its_default():
    """As those of an earlier version do."""
    plain = BASE.plain()
    for name in FIELDS:
        short = {other: value for other, value in plain.items() if other != name}
        assert StudySettings.from_plain(short) == replace(BASE, **{name: getattr(StudySettings(), name)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fix": "lr=1", "new_thing": 3}, "does not know --fix, --new-thing"),
        ({"knobs": None}, "--set"),
        ({"constraint": 3}, "--constraint"),
        ({"studies": None}, "--studies"),
        ({"trials": 0}, "--trials"),
    ],
)
def test_plain_settings_of_another_version_are_refused(change, said):
    with pytest.raises(StudyError) as raised:
        StudySettings.from_plain({**BASE.plain(), **change})
    assert len(raised.value.problems) == 1
    assert said in str(raised.value)


WRONG = {
    "trials": [0, "many", 2.5],
    "epochs": [0],
    "cpus_per_trial": [0, "all"],
    "gpus_per_trial": [-0.5, 1.01, 2.5, float("inf"), float("nan"), "some"],
    "retain_floor": [0.0, 1.01, float("nan")],
    "baseline_lr": [0, -1.0],
    "shadows": [-1],
    "depth": [20],
    "objective": ["beauty"],
    "name": ["a/b", "..", ".", "/tmp", "a/", "it's"],
    "shape": ["16", "16,16,", "16,15,16", "a,b,c", "-16,16,16", "16.0,16,16", "16,16,2²", "16,16,16,16"],
    "horizons": ["twenty", "20,1.5", "0,20", "-5"],
    "constraint": [("retain_dice>1",)],
    "address": ["head"],
    "tracking_uri": ["http://me:secret@mlflow.example"],
    "optuna_storage": ["postgresql+psycopg2://me:secret@db.example/optuna"],
}
RIGHT = {
    "gpus_per_trial": [0, 0.25, 1, 2.0, "auto"],
    "cpus_per_trial": [1, "auto"],
    "retain_floor": [1, 0.01],
    "name": ["x.y", "a-b_c"],
    "shape": [" 16, 24,32"],
    "horizons": ["9, 3"],
    "shadows": [0],
    "address": ["ray://head:10001"],
    "constraint": [("seconds<=60", "retain_dice >= 0.5")],
    "studies": ["as/text"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_value_out_of_its_range_is_one_problem_that_names_the_option_and_the_value(name, value):
    checked, (problem,) = replace(BASE, **{name: value}).checked()
    assert problem.startswith(f"--{name.replace('_', '-')}")
    shown = "secret" not in str(value) and not isinstance(value, tuple)
    assert (repr(value) in problem) == shown
    assert checked == replace(BASE, **{name: getattr(StudySettings(), name)})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_a_value_in_its_range_is_none(name, value):
    checked, problems = replace(BASE, **{name: value}).checked()
    assert problems == []
    assert str(getattr(checked, name)) in (str(value), f"{value:.1f}" if isinstance(value, int) else "")


def test_all_problems_are_told_at_once():
    settings = StudySettings(**{name: values[0] for name, values in WRONG.items()})
    assert len(settings.checked()[1]) == len(WRONG)


def test_the_depths_are_those_of_the_networks():
    assert DEPTHS == NETWORKS


def test_paths_are_absolute_and_other_words_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    paths = {"label_map": "map.csv", "groups": "../groups.csv", "weights": "w.pth", "storage": "shared"}
    stores = {"tracking_uri": "sqlite:///runs/mlflow.db", "optuna_storage": "sqlite+pysqlite:///optuna.db"}
    settings = StudySettings(cohort="bids:./scans", studies=Path("studies"), **paths, **stores).absolute()
    assert settings == StudySettings(
        cohort=f"bids:{tmp_path}/scans",
        studies=tmp_path / "studies",
        label_map=f"{tmp_path}/map.csv",
        groups=f"{tmp_path.parent}/groups.csv",
        weights=f"{tmp_path}/w.pth",
        storage=f"{tmp_path}/shared",
        tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db",
        optuna_storage=f"sqlite+pysqlite:///{tmp_path}/optuna.db",
    )
    monkeypatch.chdir("/")
    assert settings.absolute() == settings
    words = {"weights": "medicalnet", "storage": "s3://bucket/folder", "tracking_uri": "http://mlflow:5000"}
    words |= {"optuna_storage": "sqlite:///:memory:"}
    for cohort in ("phantom", "phantom:16x24x24,8", "bids:not/there"):
        settings = StudySettings(cohort=cohort, studies=tmp_path, **words)
        assert settings.absolute() == settings


def test_constraints_are_the_retain_floor_and_what_was_given():
    settings = replace(BASE, retain_floor=0.75, constraint=("seconds<=60", " retain_dice >= 0.5 "))
    assert list(map(str, settings.constraints)) == ["retention>=0.75", "seconds<=60", "retain_dice>=0.5"]
    with pytest.raises(ConstraintError):
        _ = replace(BASE, constraint=("beauty>1",)).constraints


def test_studies_go_where_the_environment_says(monkeypatch):
    monkeypatch.setenv("LETHE_STUDIES", "/data/studies")
    assert StudySettings().studies == Path("/data/studies")
    monkeypatch.delenv("LETHE_STUDIES")
    assert StudySettings().studies == Path("studies")
