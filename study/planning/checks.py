"""Settings checked against each other, their search space and the disk, without torch and Ray."""

import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from pyarrow.fs import FileSystem

from search_spaces.narrowing import narrow
from search_spaces.space import SPACES, Space, Suite
from study.planning.requests import read_requests
from study.records.failure import StudyError
from study.records.objectives import OBJECTIVES
from study.records.options import option_of
from study.records.settings import StudySettings
from study.search.samplers import problems as sampler_problems


def explained(settings: StudySettings) -> Space | Suite:
    """What --explain prints: the space, changed as the settings say.

    Raises:
        StudyError: there is no such space, or no such change of it, or another option is wrong.
    """
    settings, problems = checked(settings)
    if problems:
        raise StudyError(problems)
    return space_of(settings)


def checked(settings: StudySettings) -> tuple[StudySettings, list[str]]:
    """The settings with absolute paths, and with defaults in place of what is out of its range; and all problems.

    All that show without a network and the cohort.
    """
    settings, problems = settings.checked()
    settings = settings.absolute()
    if not settings.space:
        problems.insert(0, f"--space is missing: name what to search, one of {', '.join(SPACES.names())}")
    else:
        problems += _space_problems(settings)
    excluding = [("forget", "forget_count"), ("heldout", "heldout_count")]
    excluding += [("requests", "forget"), ("requests", "forget_count")]
    for first, second in excluding:
        if getattr(settings, first) and getattr(settings, second):
            problems.append(f"--{option_of(first)} and --{option_of(second)} exclude each other")
    if settings.repeats and not settings.evidence:
        problems.append("--repeats are judged by the evidence, which --no-evidence leaves out")
    return settings, problems + _disk_problems(settings)


def space_of(settings: StudySettings) -> Space | Suite:
    """The space that the settings name, changed as they say.

    Raises:
        ValueError: for knobs that cannot be.
    """
    space = SPACES.load(settings.space)
    if isinstance(space, Suite):
        horizons = {int(part) for part in settings.horizons.split(",") if part}
        return replace(space, horizons=tuple(sorted(horizons)) or space.horizons, seeds=settings.seeds or space.seeds)
    space = narrow(space, settings.knobs)
    return space if settings.epochs is None else space.up_to(settings.epochs)


def _space_problems(settings: StudySettings) -> list[str]:
    """What is wrong with the options that change the space, or how it is searched."""
    try:
        suite = isinstance(SPACES.load(settings.space), Suite)
    except ValueError as error:
        return [f"--space: {error}"]
    defaults = StudySettings()
    searching = ("knobs", "epochs", "sampler", "enqueue", "warm_start", "early_stopping", "grace", "optuna_storage")
    needless = {**dict.fromkeys(searching, suite), **dict.fromkeys(("horizons", "seeds"), not suite)}
    kind = "a suite of fixed recipes" if suite else "no suite"
    problems = [
        f"--{option_of(name)} says nothing about --space {settings.space}, which is {kind}"
        for name, wrong in needless.items()
        if wrong and getattr(settings, name) != getattr(defaults, name)
    ]
    if problems or suite:
        return problems
    try:
        space = space_of(settings)
    except ValueError as error:
        return [f"--set: {line}" for line in str(error).splitlines()]
    assert isinstance(space, Space)
    problems = [f"--sampler: {problem}" for problem in sampler_problems(settings.sampler, space)]
    if settings.early_stopping and OBJECTIVES[settings.objective].multiple:
        problems.append(f"--early-stopping compares one number, and --objective {settings.objective} has several")
    return problems


def _disk_problems(settings: StudySettings) -> list[str]:
    """What is wrong with the files and folders that options name."""
    problems = []
    if settings.warm_start and not (settings.studies / settings.warm_start / "study.json").is_file():
        problems.append(f"--warm-start: no study {settings.warm_start!r} in {settings.studies}")
    if settings.weights not in ("", "medicalnet") and not Path(settings.weights).is_file():
        problems.append(f"--weights: no such file {settings.weights!r} (or `medicalnet` to download)")
    if settings.requests:
        try:
            read_requests(settings.requests)
        except StudyError as error:
            problems += [f"--requests: {problem}" for problem in error.problems]
    if settings.storage:
        try:
            FileSystem.from_uri(settings.storage)
        except (ValueError, OSError) as error:
            problems.append(f"--storage: neither an absolute path nor an address that pyarrow knows ({error})")
        if urlsplit(settings.storage).username:
            problems.append("--storage holds a key, which study.json would keep: set AWS_ACCESS_KEY_ID on all nodes")
    folder = settings.studies.absolute()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        problems.append(f"--studies: cannot write to {settings.studies}")
    return problems
