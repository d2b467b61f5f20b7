"""Command lines: the commands' own, and those that run a study or a trial of it again; as a file too."""

import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from inspect import cleandoc
from typing import Any, TypeVar

import tyro
import yaml

from study.records.failure import StudyError, fail
from study.records.options import option_of
from study.records.rows import TrialRow
from study.records.settings import ClusterOptions, RecordOptions, StudySettings, option_names
from study.records.study_record import StudyRecord

Options = TypeVar("Options")

_APART = option_names(RecordOptions) | option_names(ClusterOptions) - {"concurrent"} | {"explain", "examine"}
"""Options that say where and how a study runs, not what it computes."""
_SEARCH = {"space", "knobs", "epochs", "trials", "sampler", "enqueue", "warm_start", "early_stopping", "grace"}
_NOT_IN_FILES = {"name", "studies", "resume", "explain", "verbose"}
"""Options that say which study it is and what is shown, not how it is run."""


def command(kind: type[Options], work: Callable[[Options], int | None], program: str) -> Callable[..., int]:
    """The `main` of a command, which returns the exit code.

    Args:
        kind: dataclass of its options, whose docstring shows how it is called.
        work: does it; gives the exit code where that is not 0.
        program: how it is called.
    """

    def main(arguments: Sequence[str] | None = None, program: str = program) -> int:
        description = re.sub(r"python -m [\w.]+", program, cleandoc(kind.__doc__ or ""))
        settings = tyro.cli(kind, prog=program, description=description, args=arguments)
        try:
            return work(settings) or 0
        except StudyError as error:
            return fail(*error.problems, code=error.code)

    return main


def trial_command(record: StudyRecord, row: TrialRow) -> str:
    """The study command that runs a trial again, alone or among those of its suite, by study.json and its row."""
    if record.suite.entries:
        return _study_command([], record.settings, _APART)
    return _search_command(record, row, ["--trials 1"], {})


def sweep_command(record: StudyRecord, row: TrialRow, knob: str, values: Sequence[float | int]) -> str:
    """The study command that tries some values of one knob, with everything else as a trial has it."""
    return _search_command(
        record, row, ["--sampler grid", f"--trials {len(values)}"], {knob: "|".join(map(str, values))}
    )


def spelled(settings: StudySettings, apart: Collection[str] = ()) -> list[str]:
    """The arguments of study.run that give settings, without some options."""
    words = []
    for name, value in _differing(settings, apart).items():
        option = f"--{option_of(name)}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option_of(name)}")
        else:
            words += [
                word for item in (value if isinstance(value, list) else [value]) for word in (option, str(item))
            ]
    return words


def config_of(settings: StudySettings) -> str:
    """The YAML file for --config with which a study of these settings can be run again."""
    differing = _differing(settings, _NOT_IN_FILES)
    options = {option_of(name): value for name, value in differing.items()}
    return yaml.safe_dump(options, sort_keys=False, allow_unicode=True)


def _differing(settings: StudySettings, apart: Collection[str]) -> dict[str, Any]:
    """The options that have no defaults, in the order of the command line."""
    defaults = StudySettings().plain()
    return {name: value for name, value in settings.plain().items() if name not in apart and value != defaults[name]}


def _search_command(record: StudyRecord, row: TrialRow, words: Sequence[str], swept: Mapping[str, str]) -> str:
    knobs = [f"{name}={value}" for name, value in {**row.knobs, **swept}.items()]
    words = [f"--space {record.settings.space}", *words, *(f"--set {shlex.quote(knob)}" for knob in knobs)]
    return _study_command(words, record.settings, _APART | _SEARCH)


def _study_command(words: Sequence[str], settings: StudySettings, apart: Collection[str]) -> str:
    return " ".join(["python -m study.run", *words, *map(shlex.quote, spelled(settings, apart))])
