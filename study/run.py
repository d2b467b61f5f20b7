"""`python -m study.run`: read the settings, check them, run or continue the study, print its result."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from study.planning.arguments import PROGRAM, parse
from study.records.command_lines import spelled
from study.records.failure import StudyError, fail
from study.records.reading import named_folder
from study.records.settings import StudySettings
from study.records.study_record import recorded_settings
from study.terminal.interrupts import Interrupts
from study.terminal.quiet import quiet


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
    from study.session import run_study

    return 0 if run_study(make_plan(settings), console, interrupts) else interrupts.exit_code


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
