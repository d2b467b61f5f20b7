"""Command lines: how those of the commands are read, and those that run a trial again or others around it."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from inspect import cleandoc
from typing import Any, TypeVar

import tyro

from study.records.options import option_of
from study.records.settings import ClusterOptions, RecordOptions, StudySettings, option_names
from study.records.trials import given

Options = TypeVar("Options")

_APART = option_names(RecordOptions) | option_names(ClusterOptions) - {"concurrent"} | {"explain", "examine"}
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


def options(kind: type[Options], arguments: Sequence[str] | None, program: str) -> Options:
    """The options of a command; exits with code 2 and a message on wrong ones.

    Args:
        kind: dataclass of the options, whose docstring shows how the command is called.
        arguments: without the program's name; by default this process's.
        program: how it was called.
    """
    description = re.sub(r"python -m [\w.]+", program, cleandoc(kind.__doc__ or ""))
    return tyro.cli(kind, prog=program, description=description, args=arguments)


def spelled(settings: Mapping[str, Any], apart: Collection[str] = ()) -> list[str]:
    """The arguments of study.run that give settings.

    Args:
        settings: as `StudySettings.plain` gives them; an option that is missing has its default.
        apart: options to leave out.
    """
    words = []
    for name, default in StudySettings().plain().items():
        value, option = settings.get(name, default), f"--{option_of(name)}"
        if name in apart or value == default:
            continue
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option_of(name)}")
        else:
            words += [
                word for item in (value if isinstance(value, list) else [value]) for word in (option, str(item))
            ]
    return words


def _command(words: Sequence[str], settings: Mapping[str, Any], apart: Collection[str]) -> str:
    return " ".join(["python -m study.run", *words, *map(shlex.quote, spelled(settings, apart))])


def _set(knob: str, value: str) -> str:
    return f"--set {shlex.quote(f'{knob}={value}')}"
