"""Presets that fail."""

import shutil

import optuna
import pytest
from optuna.trial import TrialState

pytestmark = pytest.mark.slow

PRESET = """
from typing import Literal

import torch

from trainables.mechanics.labels import noisy_labels
from trainables.mechanics.step import Step
from trainables.mechanics.strategy import Strategy


def moody(mood: Literal["good", "mad", "bad"] = "good") -> Strategy:
    noisy = noisy_labels(1.0, False)

    def term(step: Step) -> torch.Tensor:
        if mood == "bad" and step.epoch > 1:
            raise ValueError("bad mood")
        return noisy(step) * (float("nan") if mood == "mad" and step.epoch > 1 else 1.0)

    return Strategy(forget=term)
"""
SPACE = """
from optuna.distributions import CategoricalDistribution, IntDistribution

from search_spaces.space import Space

SPACE = Space("moody", {"mood": CategoricalDistribution(["good", "mad", "bad"]), "epochs": IntDistribution(3, 3)})
"""


def test_a_loss_that_is_no_number_ends_its_trial_and_an_error_fails_it(study_in, tmp_path, root):
    """Each of them one trial of a study that completes; no trial is left open in the search."""
    code = tmp_path / "code"
    for package in ("study", "trainables", "search_spaces", "analysis"):
        shutil.copytree(root / package, code / package)
    (code / "trainables/strategies/moody.py").write_text(PRESET)
    (code / "search_spaces/moody.py").write_text(SPACE)
    storage = f"sqlite:///{tmp_path / 'optuna.db'}"
    options = ("--sampler", "grid", "--trials", 3, "--optuna-storage", storage)
    study = study_in(tmp_path / "studies", "s", *options, space="moody", cwd=code)
    output = study.start().ends(0)

    trials = study.final("trials").set_index("mood")
    assert trials.status.to_dict() == {"good": "finished", "mad": "finished", "bad": "failed"}
    assert trials.diverged.to_dict() == {"good": False, "mad": True, "bad": False}
    assert not trials.feasible["mad"]
    assert not trials.feasible["bad"]
    assert trials.epochs_done.to_dict() == {"good": 3, "mad": 2, "bad": 1}
    assert trials.problem["bad"] == "ValueError: bad mood"
    assert output.count(f"{trials.id['bad']}  tried again after: ValueError: bad mood") == 2
    assert f"{trials.id['bad']}  failed" in output
    assert f"{trials.id['mad']}  diverged" in output
    assert "Traceback" not in output
    found = optuna.load_study(study_name="s", storage=storage).get_trials()
    assert sorted(trial.state for trial in found) == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
