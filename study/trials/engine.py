"""The engine: Ray Tune runs the trials of a study, as many sessions of it as it takes."""

import errno
import os
from typing import Any

from ray import tune
from ray.exceptions import OutOfMemoryError
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial

from search_spaces.space import Space, Suite
from study.cluster.placement import TrialPlacement, remove_own_groups
from study.cluster.storage import Storage, storage_of
from study.cluster.utilisation import Utilisation
from study.networks.session import Session
from study.planning.plan import Plan
from study.recording.recorder import Recorder
from study.records.failure import StudyError
from study.records.front import kept
from study.records.references import BASELINE, RETRAINED
from study.records.rows import TrialRow, trial_rows
from study.records.study_record import read_record
from study.records.trials import FAILED, RUNNING
from study.search.searcher import Problem, Start, StudySearch, Unfinished
from study.search.stopping import Halving
from study.search.suite import SuiteSearch, suite_trials
from study.terminal.interrupts import Interrupts
from study.trials.callback import MOST_RETRIES, Events, Stop
from study.trials.kept_weights import keep_weights
from trainables.trainable import UnlearningTrial

_OFF = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the recorder writes, once
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # study/interrupts.py catches signals
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # of all trials, for a restore that studies do not use
}
"""What Tune would do beside running trials."""


def unlearning_trainable(session: Session) -> Any:
    """What Tune runs as a trial: it starts from the baseline and shares the cohort with all others."""
    plan, references, resources = session.plan, session.references, session.resources
    baseline = {
        "depth": plan.settings.depth,
        "digest": references[BASELINE].digest,
        "retain_floor": plan.settings.retain_floor,
        "metrics": {name: references[name].metrics for name in (BASELINE, RETRAINED)},
    }
    shared = {"data": plan.shared, "weights": references[BASELINE].shared}
    trainable = tune.with_parameters(UnlearningTrial, **shared, baseline=baseline, threads=resources.cpus)
    return tune.with_resources(trainable, TrialPlacement([{"CPU": resources.cpus, "GPU": resources.gpus}]))


def run_trials(session: Session, trainable: Any, recorder: Recorder, interrupts: Interrupts) -> bool:
    """Run trials until the study has as many as its settings ask for, or there are no others.

    Args:
        session: of the study.
        trainable: of Tune; it reports what UnlearningTrial does, and has a TrialPlacement for its resources.
        recorder: takes what happens, and knows what has happened.
        interrupts: has been entered.

    Returns:
        Whether that was reached; False after a signal.

    Raises:
        OSError: the disk is full.
        StudyError: the Optuna storage cannot hold this study.
        TuneError: Tune cannot go on.
    """
    os.environ.update(_OFF)
    plan, concurrent = session.plan, session.resources.concurrent
    storage, crowded = storage_of(plan.settings), set[str]()
    keep_weights(recorder.rows, kept(recorder.rows, plan.objective), plan.settings.folder, storage)
    while recorder.ended_trials < plan.trials:
        search = _search(session, recorder.rows, storage, crowded)
        events = Events(session, recorder, storage, search, _halving(plan, recorder), crowded)
        interrupts.told = events.interrupt
        try:
            ended = _ends(_tuner(trainable, plan.trials - recorder.ended_trials, concurrent, storage, events), events)
        finally:
            interrupts.told = None
        if ended:
            session.view.line(_used(events.utilisation, concurrent))
            return search.exhausted or recorder.ended_trials >= plan.trials
    return True


def _ends(tuner: Tuner, events: Events) -> bool:
    """Run a session of Tune; False if it gave up because Ray has killed a trial for its node's memory.

    Raises:
        OSError: the disk is full.
        TuneError: Tune cannot go on.
    """
    try:
        tuner.fit()
    except Exception as error:
        if events.full_disk:  # there is no space for what Tune writes of the failure either, and it reads that
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        if not isinstance(error.__cause__, OutOfMemoryError):
            raise
        remove_own_groups()  # Tune has left its trials where they were
        events.on_host_memory(error.__cause__)
        return False
    if events.full_disk:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return True


def _tuner(trainable: Any, trials: int, concurrent: int, storage: Storage, events: Events) -> Tuner:
    return Tuner(
        trainable,
        tune_config=TuneConfig(
            search_alg=events.search,
            scheduler=events.halving,
            num_samples=trials,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=RunConfig(
            name=storage.next_session(),
            storage_path=storage.root,
            storage_filesystem=storage.filesystem,
            failure_config=FailureConfig(max_failures=MOST_RETRIES),
            checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            callbacks=[events],
            stop=Stop(events),
            verbose=0,
        ),
    )


def _search(session: Session, rows: list[TrialRow], storage: Storage, crowded: set[str]) -> StudySearch | SuiteSearch:
    """What suggests the trials that are left, after those that began."""
    plan, baseline = session.plan, session.references[BASELINE].digest
    settings, space = plan.settings, plan.space
    unfinished = [
        Unfinished(row.id, row.knobs, storage.newest_state(row.id), row.id in crowded)
        for row in rows
        if row.status == RUNNING
    ]
    if isinstance(space, Suite):
        ended = [row.id for row in rows if row.status != RUNNING]
        return SuiteSearch(suite_trials(space, settings.seed, baseline), ended, unfinished)
    earlier = earlier_trials(plan) if settings.warm_start else []
    if earlier:
        session.view.line(f"the search has learned from {len(earlier)} trials of {settings.warm_start}")
    problem = Problem(space, plan.objective, plan.constraints, baseline, settings.seed, settings.sampler)
    start = Start(rows, earlier, unfinished, space.starts if settings.enqueue else ())
    return StudySearch(problem, start, settings.optuna_storage or None, settings.name)


def earlier_trials(plan: Plan) -> list[TrialRow]:
    """The ended trials of --warm-start whose configuration lies in this plan's space.

    Raises:
        StudyError: that study is of another space or cohort, or its records cannot be read.
    """
    space, settings = plan.space, plan.settings
    assert isinstance(space, Space)
    folder = settings.studies / settings.warm_start
    try:
        study = read_record(folder)
        rows = trial_rows(folder, study)
    except StudyError as error:
        raise StudyError([f"--warm-start: {problem}" for problem in error.problems]) from error
    if (study.space, study.cohort.digest) != (settings.space, plan.cohort.digest):
        what = "space" if study.space != settings.space else "cohort"
        raise StudyError([f"--warm-start: study {settings.warm_start!r} is of another {what}"])
    return [
        row
        for row in rows
        if row.status not in (RUNNING, FAILED)
        and space.contains(row.knobs)
        and space.fixed.items() <= row.knobs.items()
        and row.knobs.keys() <= space.knobs.keys()
    ]


def _halving(plan: Plan, recorder: Recorder) -> Halving | None:
    if not plan.settings.early_stopping or isinstance(plan.space, Suite):
        return None
    histories = recorder.epochs({row.id: 0 for row in recorder.rows}).values()
    reports = [{**epoch, "diverged": False} for history in histories for epoch in history]
    return Halving(plan.objective, plan.constraints, max(plan.space.epochs), plan.grace, reports)


def _used(utilisation: Utilisation, concurrent: int) -> str:
    """How well the places for trials were used, and by which nodes if there are several."""
    nodes = [f"{count} on {node}" for node, count in utilisation.by_node().most_common()]
    where = f"; trials: {', '.join(nodes)}" if len(nodes) > 1 else ""
    return f"places for {concurrent} trials were busy {utilisation.share(concurrent):.0%} of the time{where}"


def _trial_folder(trial: Trial) -> str:
    return str(trial.config["id"])
