"""What will run: the settings checked against the space and the cohort, before any compute is spent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import ray

from search_spaces.space import Space, Suite
from study.planning.checks import checked, space_of
from study.planning.metrics import constraint_problems, installed_metrics
from study.planning.pseudonyms import owner_key, pseudonym
from study.planning.requests import read_requests
from study.records.constraints import Constraint
from study.records.failure import StudyError
from study.records.metrics import Metric
from study.records.objectives import OBJECTIVES, Objective
from study.records.options import option_of
from study.records.references import retrained_names
from study.records.settings import StudySettings
from study.records.study_record import Selection, StudyRecord, begun_record
from trainables.cohorts.cache import cache_dir
from trainables.cohorts.cohort import Cohort, CohortError
from trainables.cohorts.open_cohort import open_cohort
from trainables.data import TrialData, trial_data
from trainables.mechanics.strategy import build
from trainables.split import Split, split_subjects

_OPTIMISTIC = "OPTIMISTIC: the one {} both steers the search and is what the evidence compares with"


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
    def recorded(self) -> StudyRecord | None:
        """What the study's folder holds of it: None before its first session has written study.json."""
        return begun_record(self.settings.folder)

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """The columns of metrics that the study's tables have; one that is not installed any more gets no values."""
        before = self.recorded
        return {**(before.metrics if before else {}), **installed_metrics()}

    @property
    def trials(self) -> int:
        """How many trials the study has in all."""
        suite = self.space
        return len(suite.entries) * suite.seeds if isinstance(suite, Suite) else self.settings.trials

    @property
    def grace(self) -> int:
        """Epochs that early stopping leaves every trial."""
        assert isinstance(self.space, Space)
        return self.settings.grace or max(1, 3 * max(self.space.epochs) // 4)

    @property
    def horizons(self) -> tuple[int, ...]:
        """Epochs after which a suite's trials are reported."""
        return self.space.horizons if isinstance(self.space, Suite) else ()

    @property
    def selection(self) -> Selection:
        """What steers the search and what the evidence reports: apart, where there is enough of it.

        The first retrained reference steers: `closest` is the trial nearest to it. Of the held-out subjects some
        steer where the objective looks at them.
        """
        first, *further = retrained_names(self.settings.references)
        by, heldout, steering = self.objective.steered_by, self.split.heldout, self.split.steering
        warnings = []
        if not further:
            warnings.append(f"{_OPTIMISTIC.format('retrained reference')}; give --references 4")
        if by == "heldout" and not steering:
            warnings.append(f"{_OPTIMISTIC.format('held-out subject')}; hold out more")
        return Selection(
            steering_references=(first,),
            report_references=tuple(further) or (first,),
            steering_heldout=(steering or heldout) if by == "heldout" else (),
            report_heldout=heldout,
            warnings=tuple(warnings),
        )


def make_plan(settings: StudySettings) -> Plan:
    """Check everything that can be checked and read the cohort (from its cache, if it is there).

    Raises:
        StudyError: for settings or a cohort that cannot be studied, with all problems found; or their folder holds
            another study, or a study.json that cannot be read.
    """
    settings, space = check(settings)
    requests = read_requests(settings.requests) if settings.requests else []
    try:
        cohort = open_cohort(
            settings.cohort,
            contrast=settings.contrast or None,
            label_map=_path(settings.label_map),
            groups=_path(settings.groups),
            shape=_shape(settings.shape),
            cache_dir=cache_dir(),
        )
        key = owner_key(cache_dir())
        ids = {pseudonym(subject, key): subject for subject in cohort.subjects}
        requests = [[ids.get(name, name) for name in request] for request in requests]
        split = _split(settings, cohort, requests, ids)
    except CohortError as error:
        option = "--requests" if requests else "--forget"  # requests are forgotten subjects by another option
        raise StudyError([problem.replace("--forget", option) for problem in error.problems]) from error

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
    plan = Plan(settings, space, cohort, records, trial_data(cohort, split), places)
    _check_same_study(plan)
    return plan


def _split(settings: StudySettings, cohort: Cohort, requests: list[list[str]], ids: Mapping[str, str]) -> Split:
    """Who is retained, forgotten and held out; `ids` of the subjects that settings may name by pseudonym.

    Raises:
        CohortError: the cohort cannot be split so.
    """
    split = split_subjects(
        cohort.subjects,
        settings.seed,
        forget=[name for request in requests for name in request]
        or [ids.get(name, name) for name in _listed(settings.forget)],
        heldout=[ids.get(name, name) for name in _listed(settings.heldout)],
        forget_count=settings.forget_count,
        heldout_count=settings.heldout_count,
        retain_count=settings.retain_count,
    )
    return split.steered(settings.seed) if OBJECTIVES[settings.objective].steered_by == "heldout" else split


def _check_same_study(plan: Plan) -> None:
    """Check that what the folder holds is this study; an option that an older study.json lacks has its default.

    Raises:
        StudyError: it was started with other settings or on other data, or its study.json cannot be read.
    """
    record, settings = plan.recorded, plan.settings
    if record is None:
        return
    before, now = record.settings.absolute().lasting, settings.lasting
    changed = [name for name in now if now[name] != before[name]]
    if changed:
        listed = ", ".join(f"{option_of(name)} ({before[name]!r} -> {now[name]!r})" for name in changed)
        raise StudyError(f"study {settings.name!r} was started with other settings: {listed}; choose another --name")
    if record.cohort.digest != plan.cohort.digest:
        raise StudyError(f"study {settings.name!r} was started on other data: the cohort's files have changed since")


def check(settings: StudySettings) -> tuple[StudySettings, Space | Suite]:
    """The settings, each of its option's type, and the space that they name, every recipe of which is legal.

    Raises:
        StudyError: with all problems found.
    """
    texts = settings.constraint
    settings, problems = checked(settings)
    problems = [*constraint_problems(texts), *problems]
    try:
        space = space_of(settings)
    except ValueError as error:  # one of the problems already
        raise StudyError(problems) from error
    problems += _recipe_problems(space, settings) if isinstance(space, Space) else []
    if problems:
        raise StudyError(problems)
    return settings, space


def _recipe_problems(space: Space, settings: StudySettings) -> list[str]:
    """What the strategy itself says against the corners of the space."""
    try:
        strategies = [build(space.strategy, corner)[0] for corner in space.corners]
    except ValueError as error:
        return [f"--set: {line}" for line in str(error).splitlines()]
    steered = OBJECTIVES[settings.objective].steered_by == "heldout"
    if any(strategy.rewind for strategy in strategies) and not steered:
        return ["--set: rewind compares with held-out subjects that steer, which only --objective unseen has"]
    return []


def _shape(text: str) -> tuple[int, int, int] | None:
    if not text:
        return None
    depth, height, width = (int(size) for size in text.split(","))
    return depth, height, width


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _path(text: str) -> Path | None:
    return Path(text) if text else None
