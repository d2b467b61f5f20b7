"""The printed commands, read back as a shell and the command line read them."""

import math
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from search_spaces.narrowing import narrow
from search_spaces.space import SPACES
from study.planning.plan import check
from study.records.command_lines import sweep_command, trial_command
from study.records.failure import StudyError
from study.records.rows import TrialRow
from study.records.settings import StudySettings
from study.records.study_record import Entry, Recipes
from study.run import parse

KNOBS = {
    "noisy_label": {"noise_rate": 0.8125, "lr": 1.2e-05, "forget_weight": 2.0, "epochs": 13},
    "scrub": {"alpha": 0.001, "gamma": 1.0, "max_epochs": 2, "lr_decay": "3/5/9", "lr": 5e-4, "epochs": 10},
    "mechanics": {
        **{"forget": "ascent", "retain": "segment", "moves": "all", "noise_rate": math.nan, "ceiling": 10.0},
        **{"image": None, "lr": 3e-4, "forget_weight": 0.1, "epochs": 20},
    },
}
SEARCHED = StudySettings(
    space="noisy_label",
    knobs=("lr=1e-4|1e-3",),
    sampler="nsga2",
    enqueue=False,
    early_stopping=True,
    grace=3,
    warm_start="old",
    epochs=20,
    trials=60,
)
ELSEWHERE = {
    "name": "mine",
    "studies": Path("/data/st"),
    "tracking_uri": "http://x:5",
    "optuna_storage": "sqlite:///o",
}
ELSEWHERE |= {"resume": "mine", "verbose": True, "explain": True, "examine": "abc"}
COMPUTED = {
    **{
        "cohort": "bids:/data/IXI brain's; rm -rf $HOME",
        "label_map": 'maps/"eight" classes.csv',
        "shape": "48,64,48",
    },
    **{"forget": "s-1a2b,s-3c4d", "heldout_count": 2, "retain_floor": 0.85, "depth": 50, "seed": 3, "concurrent": 1},
    **{"constraint": ("seconds<=600", "heldout_dice >= 0.5"), "objective": "unseen", "evidence": False},
    **{"baseline_lr": 2e-3, "baseline_epochs": 30, "references": 5, "shadows": 0, "forget_draws": 2},
}


def record(settings, knobs=(), suite=()):
    return SimpleNamespace(settings=settings, knobs=dict.fromkeys(knobs), suite=Recipes(suite))


def row_of(strategy, **knobs):
    knobs = {name: value for name, value in knobs.items() if value is not None and value == value}
    return TrialRow(id="t", strategy=strategy, seed=2, knobs=knobs)


def read(command):
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "study.run"]
    assert "\n" not in command
    return parse(words[3:])


def given(knobs):
    return tuple(f"{name}={value}" for name, value in knobs.items() if value is not None and value == value)


@pytest.mark.parametrize("space", KNOBS)
@pytest.mark.parametrize(
    "changes", [{}, ELSEWHERE, COMPUTED, {**ELSEWHERE, **COMPUTED}], ids=lambda changes: f"{len(changes)} changes"
)
def test_a_trials_command_holds_its_knobs_and_computes_with_the_same_settings(space, changes):
    settings = replace(SEARCHED, space=space, **changes)
    found = read(trial_command(record(settings, KNOBS[space]), row_of(space, **KNOBS[space])))
    computed = {name: value for name, value in changes.items() if name in COMPUTED}
    assert found == StudySettings(space=space, trials=1, knobs=given(KNOBS[space]), **computed)


@pytest.mark.parametrize("space", KNOBS)
def test_the_trials_command_leaves_one_configuration_which_is_the_trials(space, tmp_path):
    found = read(trial_command(record(replace(SEARCHED, space=space), KNOBS[space]), row_of(space, **KNOBS[space])))
    check(replace(found, studies=tmp_path))
    left = narrow(SPACES.load(space), found.knobs)
    assert left.size == 1
    assert left.fixed == {name: value for name, value in KNOBS[space].items() if value is not None and value == value}
    assert left.domains == {}


@pytest.mark.parametrize(
    ("space", "knob", "values"),
    [
        ("noisy_label", "lr", [9.1e-05, 1.2e-4, 0.0002]),
        ("noisy_label", "forget_weight", [1.0, 2.0]),
        ("noisy_label", "epochs", [12, 13, 15]),
        ("scrub", "max_epochs", [1, 2]),
        ("mechanics", "ceiling", [8.0, 10.0, 12.5]),
    ],
)
@pytest.mark.parametrize("changes", [{}, {**ELSEWHERE, **COMPUTED}], ids=["as it is", "changed"])
def test_a_sweep_is_a_grid_of_the_values_beside_the_trials_other_knobs(space, knob, values, changes, tmp_path):
    settings, row = replace(SEARCHED, space=space, **changes), row_of(space, **KNOBS[space])
    found = read(sweep_command(record(settings, KNOBS[space]), row, knob, values))
    assert (found.sampler, found.trials, found.space) == ("grid", len(values), space)
    computed = {name: value for name, value in changes.items() if name in COMPUTED}
    assert replace(found, knobs=(), sampler="tpe", trials=24) == StudySettings(space=space, **computed)
    check(replace(found, studies=tmp_path))
    swept = narrow(SPACES.load(space), found.knobs)
    assert swept.domains == {knob: CategoricalDistribution(values)}
    others = {name: value for name, value in KNOBS[space].items() if value is not None and value == value}
    assert swept.fixed == {name: value for name, value in others.items() if name != knob}


def test_a_grid_without_the_list_would_be_refused(tmp_path):
    row = row_of("noisy_label", **KNOBS["noisy_label"])
    found = read(sweep_command(record(SEARCHED, KNOBS["noisy_label"]), row, "lr", [1e-4, 1e-3]))
    with pytest.raises(StudyError, match="grid needs a list or a step for lr"):
        check(replace(found, studies=tmp_path, knobs=tuple(one for one in found.knobs if "lr=" not in one)))


@pytest.mark.parametrize(
    "changes", [{}, {"horizons": "20,50", "seeds": 5, **ELSEWHERE, **COMPUTED}], ids=["as it is", "changed"]
)
def test_a_trial_of_a_suite_runs_again_among_the_others(changes, tmp_path):
    settings = StudySettings(space="paper", **changes)
    row = row_of("noisy_label", lr=1e-3, noise_rate=1.0, epochs=50)
    entries = (Entry("noisy_label", {}, {}),)
    found = read(trial_command(record(settings, ("lr", "noise_rate", "epochs"), entries), row))
    assert found == StudySettings(space="paper", **{name: changes[name] for name in changes if name not in ELSEWHERE})
    check(replace(found, studies=tmp_path, label_map="", cohort="phantom"))


@pytest.mark.parametrize(("knob", "value"), [("noise_rate", np.float64(0.1 + 0.7)), ("epochs", np.int64(7))])
def test_numbers_of_a_table_lose_no_digit(knob, value):
    row = row_of("noisy_label", **{**KNOBS["noisy_label"], knob: value})
    found = read(trial_command(record(SEARCHED, KNOBS["noisy_label"]), row))
    held = narrow(SPACES.load("noisy_label"), found.knobs).fixed[knob]
    assert held == value
    assert type(held) is type(value.item())
