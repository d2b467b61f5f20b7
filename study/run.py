"""`python -m study.run`: read the settings, check them, run or continue the study, print its result."""

import json
import logging
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from study.settings import StudySettings, parse

if TYPE_CHECKING:
    from study.plan import Plan

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
"""Exit codes."""


def main(arguments: list[str] | None = None) -> int:
    """Run one study; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console, errors = Console(), Console(stderr=True)
    settings = parse(arguments)
    if settings.resume:
        settings = _resumed(settings, arguments, errors)
    _quiet(settings.verbose)
    from study.plan import PlanError, make_plan
    from study.references import FitError
    from study.session import run_study
    from trainables.med3d import WeightsError

    try:
        plan = make_plan(settings)
        conflict = _conflict(plan)
        if conflict:
            raise PlanError([conflict])
        return 0 if run_study(plan, console) else INTERRUPTED
    except (PlanError, WeightsError) as error:
        return _fail(errors, str(error).splitlines(), BAD_INPUT)
    except FitError as error:
        return _fail(errors, [str(error)], FAILED)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command continues.")
        return INTERRUPTED


def _resumed(settings: StudySettings, arguments: list[str], errors: Console) -> StudySettings:
    """The stored settings of a study, with the options given beside --resume; exits on a conflict."""
    path = settings.studies / settings.resume / "study.json"
    try:
        stored = json.loads(path.read_text())["settings"]
        before = StudySettings(**{**stored, "studies": settings.studies, "resume": "", "verbose": False})
    except (OSError, ValueError, KeyError, TypeError) as error:
        there = sorted(found.parent.name for found in settings.studies.glob("*/study.json"))
        problem = (
            f"--resume: {path} cannot be read ({type(error).__name__}); studies there: {', '.join(there) or 'none'}"
        )
        sys.exit(_fail(errors, [problem], BAD_INPUT))
    return replace(parse(arguments, before), resume="", name=before.name)


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
        listed = ", ".join(f"{name} ({before.get(name)!r} -> {mine[name]!r})" for name in changed)
        return f"study {plan.settings.name!r} was started with other settings: {listed}; choose another --name"
    if digest != plan.cohort.digest:
        return f"study {plan.settings.name!r} was started on other data: the cohort's files have changed since"
    return None


def _quiet(verbose: bool) -> None:
    """Hide the chatter of the libraries; most of them ask for this before they are imported."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the recorder writes, once
    if not verbose:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the view tells of trials that fail


def _fail(errors: Console, problems: list[str], code: int) -> int:
    for problem in problems:
        errors.print(f"[bold red]error:[/bold red] {escape(problem)}", highlight=False, soft_wrap=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
