"""What will run: the settings checked against the space and the cohort, before any compute is spent."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import ray
from pyarrow.fs import FileSystem

from search_spaces import space as spaces
from search_spaces.narrowing import narrow
from search_spaces.space import Space, Suite
from study.planning.pseudonyms import owner_key, pseudonym
from study.planning.requests import RequestError, read_requests
from study.records.constraints import Constraint, ConstraintError
from study.records.constraints import parse as parse_constraint
from study.records.failure import StudyError
from study.records.objectives import OBJECTIVES, Objective
from study.records.settings import StudySettings
from study.search.samplers import problems as sampler_problems
from trainables.cohorts.cache import cache_dir
from trainables.cohorts.cohort import Cohort, CohortError
from trainables.cohorts.open_cohort import open_cohort
from trainables.data import TrialData, trial_data
from trainables.med3d import DEPTHS
from trainables.presets import build
from trainables.split import Split, split_subjects


class PlanError(StudyError):
    """Settings that cannot be run; carries every problem found, one line each."""


@dataclass(frozen=True)
class Plan:
    """A study that can start.

    Attributes:
        settings: with subjects named by pseudonym and a name that is settled.
        space: what is searched, or run.
        cohort: the preprocessed cohort, with the owner's subject ids.
        split: pseudonyms, for the records.
        data: what trials see.
        requests: the forget subjects by deletion request, as places in the forget set; empty without --requests.
    """

    settings: StudySettings
    space: Space | Suite
    cohort: Cohort
    split: Split
    data: TrialData
    requests: tuple[tuple[int, ...], ...]

    @cached_property
    def shared(self) -> ray.ObjectRef:
        """`data` in the object store of the Ray that runs: put there once, a node that needs it fetches it once."""
        return ray.put(self.data)

    @property
    def objective(self) -> Objective:
        """What the study searches for."""
        return OBJECTIVES[self.settings.objective]

    @property
    def constraints(self) -> list[Constraint]:
        """What a feasible trial meets."""
        return self.settings.constraints

    @property
    def trials(self) -> int:
        """How many trials the study has in all."""
        suite = self.space
        return len(suite.entries) * suite.seeds if isinstance(suite, Suite) else self.settings.trials

    @property
    def grace(self) -> int:
        """Epochs that early stopping leaves every trial."""
        assert isinstance(self.space, Space)
        return self.settings.grace or max(1, 3 * self.space.longest // 4)

    @property
    def horizons(self) -> tuple[int, ...]:
        """Epochs after which a suite's trials are reported."""
        return self.space.horizons if isinstance(self.space, Suite) else ()


def make_plan(settings: StudySettings) -> Plan:
    """Check everything that can be checked and read the cohort (from its cache, if it is there).

    Raises:
        PlanError: for settings or a cohort that cannot be studied, with all problems found.
    """
    shape = check(settings)
    space = _space(settings)
    requests = read_requests(settings.requests) if settings.requests else []
    try:
        cohort = open_cohort(
            settings.cohort,
            contrast=settings.contrast or None,
            label_map=_path(settings.label_map),
            groups=_path(settings.groups),
            shape=shape,
            cache_dir=cache_dir(),
        )
        key = owner_key(cache_dir())
        ids = {pseudonym(subject, key): subject for subject in cohort.subjects}
        requests = [[ids.get(name, name) for name in request] for request in requests]
        named = [name for request in requests for name in request]
        split = split_subjects(
            cohort.subjects,
            settings.seed,
            forget=named or [ids.get(name, name) for name in _listed(settings.forget)],
            heldout=[ids.get(name, name) for name in _listed(settings.heldout)],
            forget_count=settings.forget_count,
            heldout_count=settings.heldout_count,
            retain_count=settings.retain_count,
        )
    except CohortError as error:
        option = "--requests" if requests else "--forget"  # requests are forgotten subjects by another option
        raise PlanError([problem.replace("--forget", option) for problem in error.problems]) from error
    if settings.objective == "unseen":
        split = split.steered(settings.seed)

    def hidden(subjects: Sequence[str]) -> tuple[str, ...]:
        return tuple(pseudonym(subject, key) for subject in subjects)

    settings = replace(
        settings,
        requests="/".join(",".join(hidden(request)) for request in requests),
        forget=",".join(hidden(split.forget)) if settings.forget else "",
        heldout=",".join(hidden(split.heldout + split.steering)) if settings.heldout else "",
    )
    settings = replace(settings, name=settings.study_name)
    records = Split(*(hidden(subjects) for subjects in (split.retain, split.forget, split.heldout, split.steering)))
    places = tuple(tuple(split.forget.index(name) for name in request) for request in requests)
    return Plan(settings, space, cohort, records, trial_data(cohort, split), places)


def explained(settings: StudySettings) -> Space | Suite:
    """What --explain prints: the space, changed as the settings say.

    Raises:
        PlanError: there is no such space, or no such change of it.
    """
    check(settings)
    return _space(settings)


def check(settings: StudySettings) -> tuple[int, int, int] | None:
    """Check the settings by themselves and return the shape that they ask for.

    Raises:
        PlanError: with all problems found.
    """
    problems = []
    if not settings.space:
        problems.append(f"--space is missing: name what to search, one of {', '.join(spaces.names())}")
    else:
        problems += _space_problems(settings)
    if settings.depth not in DEPTHS:
        problems.append(f"--depth must be one of {DEPTHS}, but got {settings.depth}")
    for name in (
        "trials",
        "epochs",
        "seeds",
        "references",
        "baseline_epochs",
        "concurrent",
        "grace",
        "cpus_per_trial",
        "forget_count",
        "heldout_count",
        "retain_count",
    ):
        value = getattr(settings, name)
        if value not in (None, "auto") and value < 1:
            problems.append(f"--{name.replace('_', '-')} must be at least 1, but got {value}")
    for name in ("shadows", "forget_draws"):
        if getattr(settings, name) < 0:
            problems.append(f"--{name.replace('_', '-')} must be at least 0, but got {getattr(settings, name)}")
    if not 0 < settings.retain_floor <= 1:
        problems.append(f"--retain-floor must be in (0, 1], but got {settings.retain_floor}")
    for text in settings.constraint:
        try:
            parse_constraint(text)
        except ConstraintError as error:
            problems.append(f"--constraint: {error}")
    if settings.warm_start and not (settings.studies / settings.warm_start / "study.json").is_file():
        problems.append(f"--warm-start: no study {settings.warm_start!r} in {settings.studies}")
    gpus = settings.gpus_per_trial
    if isinstance(gpus, int | float) and not (0 <= gpus <= 1 or (gpus > 0 and gpus % 1 == 0)):
        problems.append(f"--gpus-per-trial must be a part of a GPU or a whole number of them, but got {gpus}")
    if settings.address and not re.fullmatch(r".+:\d+", settings.address):
        problems.append(f"--address must be HOST:PORT or ray://HOST:PORT, but got {settings.address!r}")
    if settings.storage:
        try:
            FileSystem.from_uri(settings.storage)
        except (ValueError, OSError) as error:
            problems.append(f"--storage: neither an absolute path nor an address that pyarrow knows ({error})")
        if urlsplit(settings.storage).username:
            problems.append("--storage holds a key, which study.json would keep: set AWS_ACCESS_KEY_ID on all nodes")
    for option, where in [("--tracking-uri", settings.tracking_uri), ("--optuna-storage", settings.optuna_storage)]:
        if urlsplit(where).password:
            kept = "MLFLOW_TRACKING_PASSWORD" if where.startswith("http") else "PGPASSWORD or ~/.pgpass"
            problems.append(f"{option} holds a password, which study.json would keep: set {kept}")
    if not settings.baseline_lr > 0:
        problems.append(f"--baseline-lr must be above 0, but got {settings.baseline_lr}")
    if settings.weights not in ("", "medicalnet") and not Path(settings.weights).is_file():
        problems.append(f"--weights: no such file {settings.weights!r} (or `medicalnet` to download)")
    if settings.name and not re.fullmatch(r"\w[\w.-]*", settings.name):
        problems.append(f"--name must be made of letters, digits and _ . -, but got {settings.name!r}")
    excluding = [("forget", "forget_count"), ("heldout", "heldout_count")]
    excluding += [("requests", "forget"), ("requests", "forget_count")]
    for first, second in excluding:
        if getattr(settings, first) and getattr(settings, second):
            problems.append(f"--{first} and --{second.replace('_', '-')} exclude each other")
    if settings.requests:
        try:
            read_requests(settings.requests)
        except RequestError as error:
            problems += [f"--requests: {problem}" for problem in error.problems]
    shape = _shape(settings.shape, problems)
    writable = next(
        folder for folder in (settings.studies.absolute(), *settings.studies.absolute().parents) if folder.exists()
    )
    if not (writable.is_dir() and os.access(writable, os.W_OK)):
        problems.append(f"--studies: cannot write to {settings.studies}")
    if problems:
        raise PlanError(problems)
    return shape


def _space_problems(settings: StudySettings) -> list[str]:
    """What is wrong with the options that change the space, or how it is searched."""
    try:
        suite = isinstance(spaces.load(settings.space), Suite)
    except ValueError as error:
        return [f"--space: {error}"]
    defaults = StudySettings()
    searching = ("knobs", "epochs", "sampler", "enqueue", "warm_start", "early_stopping", "grace", "optuna_storage")
    needless = {**dict.fromkeys(searching, suite), **dict.fromkeys(("horizons", "seeds"), not suite)}
    kind = "a suite of fixed recipes" if suite else "no suite"
    option = {"knobs": "set"}
    problems = [
        f"--{option.get(name, name).replace('_', '-')} says nothing about --space {settings.space}, which is {kind}"
        for name, wrong in needless.items()
        if wrong and getattr(settings, name) != getattr(defaults, name)
    ]
    if problems:
        return problems
    try:
        epochs = settings.epochs if settings.epochs is None or settings.epochs > 0 else None  # told elsewhere
        space = _space(replace(settings, epochs=epochs))
        if isinstance(space, Space):
            for corner in space.corners:
                build(space.strategy, corner)
    except ValueError as error:
        return [f"--{'horizons' if suite else 'set'}: {line}" for line in str(error).splitlines()]
    if isinstance(space, Space):
        objective = OBJECTIVES[settings.objective]
        problems += [f"--sampler: {problem}" for problem in sampler_problems(settings.sampler, space)]
        if settings.early_stopping and objective.multiple:
            problems.append(f"--early-stopping compares one number, and --objective {settings.objective} has several")
    return problems


def _space(settings: StudySettings) -> Space | Suite:
    """The space that the settings name, changed as they say.

    Raises:
        ValueError: for knobs or horizons that cannot be.
    """
    space = spaces.load(settings.space)
    if isinstance(space, Suite):
        given = _listed(settings.horizons)
        if not all(part.isdecimal() and int(part) for part in given):
            raise ValueError(f"must be numbers of epochs, as in 20,50, but got {settings.horizons!r}")
        horizons = tuple(sorted({int(part) for part in given})) or space.horizons
        return replace(space, horizons=horizons, seeds=settings.seeds or space.seeds)
    space = narrow(space, settings.knobs)
    return space if settings.epochs is None else space.up_to(settings.epochs)


def _shape(text: str, problems: list[str]) -> tuple[int, int, int] | None:
    if not text:
        return None
    sizes = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    if len(sizes) != 3 or text.count(",") != 2 or min(sizes) < 16:
        problems.append(f"--shape must be D,H,W, three sizes of at least 16 voxels, but got {text!r}")
        return None
    return sizes[0], sizes[1], sizes[2]


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _path(text: str) -> Path | None:
    return Path(text) if text else None
