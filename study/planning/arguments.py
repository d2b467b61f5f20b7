"""The command line of a study: its options in groups, over those of a --config file."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tyro

from study.records.config import read_config
from study.records.failure import StudyError
from study.records.settings import (
    ClusterOptions,
    CohortOptions,
    EvidenceOptions,
    RecordOptions,
    ReferenceOptions,
    SearchOptions,
    StudySettings,
)

PROGRAM = "python -m study.run"

_DESCRIPTION = f"""Find the unlearning recipe that forgets some subjects of a cohort and keeps the others.

The same command again continues where the last one stopped.

  {PROGRAM} --space noisy_label
  {PROGRAM} --space noisy_label --cohort bids:DIR --forget-count 3 --trials 30
  {PROGRAM} --space mechanics --set lr=1e-4..1e-3 --explain
  {PROGRAM} --resume NAME --trials 60
"""


@dataclass(frozen=True)
class _CommandLine:
    search: SearchOptions = field(default_factory=SearchOptions)
    cohort: CohortOptions = field(default_factory=CohortOptions)
    references: ReferenceOptions = field(default_factory=ReferenceOptions)
    evidence: EvidenceOptions = field(default_factory=EvidenceOptions)
    records: RecordOptions = field(default_factory=RecordOptions)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    config: Path | None = None
    """YAML file of options under the same names, without the dashes; those given here win over the file's."""

    @property
    def settings(self) -> StudySettings:
        """All groups as one."""
        return StudySettings(
            **{name: value for group in _GROUPS for name, value in vars(getattr(self, group)).items()}
        )


_GROUPS: dict[str, Any] = {
    group.name: group.default_factory for group in fields(_CommandLine) if callable(group.default_factory)
}


def parse(
    arguments: Sequence[str] | None = None, default: StudySettings | None = None, program: str = PROGRAM
) -> StudySettings:
    """The settings that a command line gives; exits with code 2 and a message on a wrong one.

    Args:
        arguments: without the program's name; by default this process's.
        default: what holds where nothing is given.
        program: how it was called.

    Raises:
        StudyError: the file of --config cannot be used.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    line = _read(arguments, default or StudySettings(), program)
    if line.config:
        line = _read(arguments, read_config(line.config), program)
        if line.settings.resume:
            raise StudyError("--config and --resume exclude each other: a study goes on with its own options")
    return line.settings


def _read(arguments: Sequence[str], default: StudySettings, program: str) -> _CommandLine:
    before = replace(default, knobs=(), constraint=())  # to what stands there, tyro would add what is given
    groups = {name: kind(**{o.name: getattr(before, o.name) for o in fields(kind)}) for name, kind in _GROUPS.items()}
    line = tyro.cli(
        _CommandLine,
        prog=program,
        description=_description(program) if {"-h", "--help"} & {*arguments} else None,
        args=arguments,
        default=_CommandLine(**groups),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    search = line.search
    knobs, constraint = search.knobs or default.knobs, search.constraint or default.constraint
    return replace(line, search=replace(search, knobs=knobs, constraint=constraint))


def _description(program: str) -> str:
    from search_spaces.space import names  # imports Optuna, which takes as long as all the rest

    return f"{_DESCRIPTION.replace(PROGRAM, program)}\nSearch spaces: {', '.join(names())}."
