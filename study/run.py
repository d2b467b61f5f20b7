"""`python -m study.run`: read the settings, check them, run or continue the study, print its result."""

import json
import logging
import os
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from study.records.failure import StudyError, fail
from study.records.settings import StudySettings, parse
from study.terminal.interrupts import Interrupts

if TYPE_CHECKING:
    from study.planning.plan import Plan


def main(arguments: list[str] | None = None) -> int:
    """Run one study; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console()
    settings = parse(arguments)
    if settings.address.startswith("ray://"):
        return _follow(settings.address, [*arguments, "--address", ""])
    if settings.resume:
        settings = _resumed(settings, arguments)
    _quiet(settings.verbose)
    with Interrupts() as interrupts:
        try:
            return _run(settings, console, interrupts)
        except KeyboardInterrupt:
            console.print("Interrupted. The same command continues.")
            return interrupts.exit_code


def _follow(address: str, arguments: list[str]) -> int:
    from study.cluster.remote_driver import follow

    try:
        return follow(address, arguments)
    except StudyError as error:
        return fail(*error.problems, code=error.code)


def _run(settings: StudySettings, console: Console, interrupts: Interrupts) -> int:
    from study.planning.plan import PlanError, explained, make_plan
    from study.session import run_study
    from study.terminal.summary import print_space

    try:
        if settings.explain:
            print_space(explained(settings), console)
            return 0
        plan = make_plan(settings)
        conflict = _conflict(plan)
        if conflict:
            raise PlanError([conflict])
        return 0 if run_study(plan, console, interrupts) else interrupts.exit_code
    except StudyError as error:
        return fail(*error.problems, code=error.code)


def _resumed(settings: StudySettings, arguments: list[str]) -> StudySettings:
    """The stored settings of a study, with the options given beside --resume; exits on a conflict."""
    path = settings.studies / settings.resume / "study.json"
    try:
        stored = json.loads(path.read_text())["settings"]
        here = {"studies": settings.studies, "resume": "", "verbose": False}
        before = StudySettings.from_plain({**stored, **here})
    except (OSError, ValueError, KeyError, TypeError) as error:
        there = sorted(found.parent.name for found in settings.studies.glob("*/study.json"))
        problem = (
            f"--resume: {path} cannot be read ({type(error).__name__}); studies there: {', '.join(there) or 'none'}"
        )
        sys.exit(fail(problem))
    given = parse(arguments, replace(before, knobs=(), constraint=()))  # else what is given again would be added
    knobs, constraint = given.knobs or before.knobs, given.constraint or before.constraint
    return replace(given, knobs=knobs, constraint=constraint, resume="", name=before.name)


def _conflict(plan: "Plan") -> str | None:
    """Why this plan cannot go on with what its folder holds, if it holds another study."""
    path = plan.settings.folder / "study.json"
    if not path.exists():
        return None
    mine = plan.settings.computed
    try:
        stored = json.loads(path.read_text())
        before, digest = dict(stored["settings"]), stored["cohort"]["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{path} cannot be read ({type(error).__name__}); choose another --name"
    changed = [name for name, value in mine.items() if before.get(name) != value]
    if changed:
        option = {"knobs": "set"}
        listed = ", ".join(f"{option.get(name, name)} ({before.get(name)!r} -> {mine[name]!r})" for name in changed)
        return f"study {plan.settings.name!r} was started with other settings: {listed}; choose another --name"
    if digest != plan.cohort.digest:
        return f"study {plan.settings.name!r} was started on other data: the cohort's files have changed since"
    return None


def _quiet(verbose: bool) -> None:
    """Hide the chatter of the libraries; most of them ask for this before they are imported."""
    if not verbose:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "All-NaN slice")  # halving, where no trial has a score yet
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the view tells of trials that fail
        logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # and of a store that cannot be written


if __name__ == "__main__":
    sys.exit(main())
