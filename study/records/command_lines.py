"""The command lines that run a recorded trial again, or others around it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from study.records.settings import StudySettings
from study.records.trials import given

_APART = {
    *("name", "studies", "resume", "verbose", "explain", "tracking_uri", "optuna_storage", "examine"),
    *("storage", "address", "cpus_per_trial", "gpus_per_trial"),
}
"""Options that say where and how a study runs, not what it computes."""
_SEARCH = {"space", "knobs", "epochs", "trials", "sampler", "enqueue", "warm_start", "early_stopping", "grace"}


def trial_command(record: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The study command that runs a trial again: alone, or among those of its suite.

    Args:
        record: study.json.
        row: of the trial, in the trial table.
    """
    if record["suite"]:
        return _command([], record["settings"], _APART)
    words = [f"--space {record['settings']['space']}", "--trials 1"]
    words += [_set(name, str(row[name])) for name in record["knobs"] if given(row[name])]
    return _command(words, record["settings"], _APART | _SEARCH)


def sweep_command(record: Mapping[str, Any], row: Mapping[str, Any], knob: str, values: Sequence[float | int]) -> str:
    """The study command that tries some values of one knob, with everything else as a trial has it.

    Args:
        record: study.json.
        row: of the trial, in the trial table.
        knob: to sweep.
        values: of the knob.
    """
    words = [f"--space {record['settings']['space']}", "--sampler grid", f"--trials {len(values)}"]
    for name in record["knobs"]:
        if name == knob:
            words.append(_set(name, "|".join(map(str, values))))
        elif given(row[name]):
            words.append(_set(name, str(row[name])))
    return _command(words, record["settings"], _APART | _SEARCH)


def _command(words: Sequence[str], settings: Mapping[str, Any], apart: set[str]) -> str:
    defaults, words = StudySettings().plain(), ["python -m study.run", *words]
    options = {
        field.name: settings[field.name]
        for field in fields(StudySettings)
        if field.name not in apart and settings[field.name] != defaults[field.name]
    }
    for name, value in options.items():
        option = name.replace("_", "-")
        if value is False:
            words.append(f"--no-{option}")
        else:
            words += [
                f"--{option} {shlex.quote(str(one))}" for one in (value if isinstance(value, list) else [value])
            ]
    return " ".join(words)


def _set(knob: str, value: str) -> str:
    return f"--set {shlex.quote(f'{knob}={value}')}"
