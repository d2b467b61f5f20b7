"""`python -m study.run`: its options in groups, over those of a --config file; then the study runs, or goes on."""

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tyro
import yaml
from rich.console import Console

from study.records.command_lines import spelled
from study.records.failure import StudyError, fail
from study.records.options import checked, option_of
from study.records.reading import named_folder
from study.records.settings import (
    ClusterOptions,
    CohortOptions,
    EvidenceOptions,
    RecordOptions,
    ReferenceOptions,
    SearchOptions,
    StudySettings,
    option_names,
)
from study.records.study_record import recorded_settings
from study.terminal.interrupts import Interrupts
from study.terminal.quiet import quiet

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


def read_config(path: Path) -> StudySettings:
    """The settings that a YAML file holds; an option that it lacks has its default.

    Raises:
        StudyError: it cannot be read, or holds what is no option or no value of one; with every problem.
    """
    try:
        # Plain strings only: to YAML an id like 007 is a number, and 1e-3 is none.
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) or {}
    except OSError as error:
        raise StudyError(f"--config: {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"--config: {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise StudyError(f"--config: {path} must hold options, as in `space: noisy_label`")
    names, values, problems = {option_of(name): name for name in option_names(StudySettings)}, {}, []
    for word, value in content.items():
        option = str(word).replace("_", "-")
        if option in names:  # one that may be given several times may stand alone
            alone = option in ("set", "constraint") and isinstance(value, str)
            values[names[option]] = [value] if alone else value
        else:
            near = difflib.get_close_matches(option, names, 1)
            problems.append(f"no option {option!r}" + (f"; did you mean {near[0]}?" if near else ""))
    values, wrong = checked(StudySettings, values)
    problems += [problem.removeprefix("--") for problem in wrong]
    if problems:
        raise StudyError([f"--config: {path}: {problem}" for problem in problems])
    return StudySettings(**values)


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
    from search_spaces.space import SPACES  # imports Optuna, which takes as long as all the rest

    return f"{_DESCRIPTION.replace(PROGRAM, program)}\nSearch spaces: {', '.join(SPACES.names())}."


def main(arguments: list[str] | None = None, program: str = PROGRAM) -> int:
    """Run one study; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console, interrupts = Console(), Interrupts()
    try:
        settings = parse(arguments, program=program)
        if settings.address.startswith("ray://"):
            return _follow(settings, arguments)
        if settings.resume:
            settings = _resumed(settings, arguments, program)
        quiet(settings.verbose)
        with interrupts:
            return _run(settings, console, interrupts)
    except StudyError as error:
        return fail(*error.problems, code=error.code)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command continues.")
        return interrupts.exit_code


def _run(settings: StudySettings, console: Console, interrupts: Interrupts) -> int:
    if settings.explain:
        from study.planning.checks import explained
        from study.terminal.space import print_space

        print_space(explained(settings), console)
        return 0
    from study.planning.plan import make_plan

    plan = make_plan(settings)  # what is wrong is told before Ray and MLflow are imported, which takes seconds
    from study.session import run_study

    return 0 if run_study(plan, console, interrupts) else interrupts.exit_code


def _follow(settings: StudySettings, arguments: Sequence[str]) -> int:
    from study.cluster.remote_driver import follow

    if not settings.resume:  # what a --config file here says, the head cannot read
        arguments = spelled(settings, {"address"})
    return follow(settings.address, [*arguments, "--address", ""])


def _resumed(settings: StudySettings, arguments: Sequence[str], program: str) -> StudySettings:
    """The stored settings of a study, with the options given beside --resume.

    Raises:
        StudyError: there is no such study, or its study.json cannot be read.
    """
    before = replace(recorded_settings(named_folder(settings.studies, settings.resume)), resume="", verbose=False)
    return replace(parse(arguments, before, program), resume="", name=before.name)


if __name__ == "__main__":
    sys.exit(main())
