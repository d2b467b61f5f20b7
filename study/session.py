"""One session of a study: references, trials, result; the same call continues an unfinished study."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version

import torch
from optuna.distributions import distribution_to_json
from pydantic import TypeAdapter
from ray.exceptions import RayError
from ray.tune import TuneError
from rich.console import Console
from rich.markup import escape

from analysis.reports.page import write_pareto
from analysis.reports.tables import write_requests, write_suite
from search_spaces.space import Space, Suite
from study.cluster.costs import duration, measured_costs, packed
from study.cluster.joining import check_address, check_storage, check_stores, cluster, trial_share, watched_head
from study.cluster.nodes import Node, Resources, problem_of
from study.cluster.storage import storage_of
from study.evidence.columns import all_columns
from study.evidence.gathering import gather_evidence, unknown
from study.evidence.repeats import repeat_picks
from study.networks.references import fit_networks, lacking, reference_digests, reference_fits
from study.networks.session import Reference, Session
from study.planning.plan import Plan
from study.recording.ownership import alone
from study.recording.recorder import Recorder, records_of
from study.recording.revision import revision
from study.recording.tracker import Tracker, follow, tracking_uri
from study.records.failure import HaltedError, StudyError
from study.records.files import DISTRIBUTION
from study.records.reading import load_study
from study.records.rows import TrialRow, trial_rows
from study.records.study_record import (
    FORMAT,
    CohortRecord,
    Published,
    Recipes,
    ReferenceRecord,
    SplitRecord,
    StudyRecord,
)
from study.records.trials import RUNNING
from study.terminal.interrupts import Interrupts
from study.terminal.live import StudyView
from study.terminal.summary import print_costs, print_evidence, print_plan, print_resources, print_result
from study.trials.callback import no_space
from study.trials.engine import earlier_trials, run_trials, unlearning_trainable
from study.trials.requests import follow_requests
from trainables.med3d import med3d

_PACKAGES = ("ray", "torch", "monai", "nibabel", "optuna", "mlflow", "pyarrow", "numpy")


def run_study(plan: Plan, console: Console, interrupts: Interrupts) -> bool:
    """Run or continue a study and print its result.

    Args:
        plan: what to run.
        console: where to print.
        interrupts: has been entered.

    Returns:
        Whether the study is complete; False after a signal.

    Raises:
        StudyError: a measure of an installed package cannot be used, the folder's trials started from another
            baseline than this session's would, another process runs the study, or the cluster cannot run it.
        HaltedError: the study cannot go on; what it has is on disk.
    """
    settings, folder = plan.settings, plan.settings.folder
    _check_asked(plan)
    all_columns()  # an installed measure that cannot be imported is told of before any compute
    if settings.warm_start:
        earlier_trials(plan)
    recorded = plan.recorded
    digests = reference_digests(plan, reference_fits(plan), recorded.references if recorded else {})
    check_address(settings.address)
    with alone(folder):
        print_plan(plan, console)
        with cluster(settings, console.print) as nodes:
            session = Session(plan, _share(plan, digests, nodes, console), StudyView(console))
            interrupts.listen()
            try:
                with watched_head(partial(_give_up, console)):
                    return _run(session, digests, console, interrupts)
            except (OSError, TuneError) as error:
                if not no_space(str(error)):
                    raise
                raise HaltedError("the disk is full; the same command continues once there is space") from error


def _share(plan: Plan, digests: Mapping[str, str], nodes: Sequence[Node], console: Console) -> Resources:
    """What each trial gets of the nodes; says so, and how long it will take.

    Raises:
        StudyError: no node holds a trial, or the nodes do not share the trials' storage.
    """
    settings = plan.settings
    if settings.storage or len(nodes) > 1:
        check_storage(storage_of(settings))
    with torch.device("meta"):  # its size alone counts
        network = med3d(settings.depth, plan.data.classes)
    shared = [plan.data.images, plan.data.labels, *network.state_dict().values()]
    advice = check_stores(sum(array.nbytes for array in shared))
    if advice:
        console.print(f"[yellow]{advice}[/yellow]", soft_wrap=True, highlight=False)
    resources = trial_share(settings, nodes)
    ended = sum(row.status != RUNNING for row in _begun(plan))
    left, fits = plan.trials - ended, len(lacking(digests))
    try:
        costs = measured_costs(plan, resources) if left > 0 else []
    except RayError as error:
        reason = problem_of(error)
        if "auto" in (settings.cpus_per_trial, settings.gpus_per_trial):
            raise StudyError(f"a trial's step cannot be tried, so `auto` cannot be settled: {reason}") from error
        console.print(f"[yellow]a trial's step could not be tried ({escape(reason)})[/yellow]", soft_wrap=True)
        costs = []
    resources = trial_share(packed(settings, costs, nodes), nodes)
    print_resources(resources, nodes, console)
    if costs:
        print_costs(costs, resources, fits, left, duration(plan, costs, resources.concurrent, fits, left), console)
    return resources


def _run(session: Session, digests: Mapping[str, str], console: Console, interrupts: Interrupts) -> bool:
    """The session itself, with Ray at hand."""
    plan, settings, folder = session.plan, session.plan.settings, session.plan.settings.folder
    with session.view:
        session = replace(session, references=_references(session, digests))
        record = replace(study_record(plan, session.references), trial_cpus=session.resources.cpus)
        record.write(folder)
        recorder = Recorder(folder, record)
        for name, reference in session.references.items():
            recorder.reference(name, reference)
        tracker = follow(settings, recorder, session.view.line)
        with _ended(recorder, tracker):
            complete = run_trials(session, unlearning_trainable(session), recorder, interrupts)
            complete = complete and not interrupts.caught
            if complete and settings.evidence:
                gather_evidence(session, recorder)
                repeat_picks(session, recorder)
            if complete and plan.requests and recorder.best:
                follow_requests(session, recorder.best)
            recorder.close()
            _write_pages(plan)
            recorder.result(records_of(folder), complete)
    if settings.evidence:
        print_evidence(plan, [*recorder.references, *recorder.rows], console)
    print_result(plan, tracking_uri(settings), tracker.problem, complete, console)
    return complete


@contextlib.contextmanager
def _ended(recorder: Recorder, tracker: Tracker) -> Iterator[None]:
    """However it is left, the tables are merged and MLflow's runs end: after an error the parent as FAILED."""
    try:
        yield
    except KeyboardInterrupt:
        recorder.result([], complete=False)
        raise
    finally:
        recorder.close()
        tracker.close()


def _write_pages(plan: Plan) -> None:
    """Draw what the tables hold, into the study's folder."""
    folder = plan.settings.folder
    written = load_study(folder)
    write_pareto(written, folder / "pareto.html")
    if plan.horizons and any(written.trials["status"] != RUNNING):
        write_suite(written, folder)
    if len(written.requests):
        write_requests(written, folder)


def _give_up(console: Console, reason: str) -> None:
    """End the process at once: without Ray's head its main thread may hang, and the records are complete."""
    console.print(f"[bold red]error:[/bold red] {reason}", soft_wrap=True)
    os._exit(1)


def _references(session: Session, digests: Mapping[str, str]) -> dict[str, Reference]:
    missing = lacking(digests)
    references = fit_networks(session, reference_fits(session.plan), digests)
    for name, reference in references.items():
        metrics, how = reference.metrics, "fitted" if name in missing else "from the cache"
        session.view.line(
            f"{name:11}  {how}: retain Dice {metrics['retain_dice']:.3f}"
            f"  forget {metrics['forget_dice']:.3f}  held-out {metrics['heldout_dice']:.3f}"
        )
    return references


def _begun(plan: Plan) -> list[TrialRow]:
    """The trials of earlier sessions."""
    return trial_rows(plan.settings.folder, plan.recorded) if plan.recorded else []


def _check_asked(plan: Plan) -> None:
    wrong = unknown(plan, _begun(plan))
    if wrong:
        raise StudyError([f"--examine: study {plan.settings.name!r} has no finished trial {', '.join(wrong)}"])


def study_record(plan: Plan, references: Mapping[str, Reference]) -> StudyRecord:
    """What study.json holds of a study that begins, or goes on."""
    cohort, space, before = plan.cohort, plan.space, plan.recorded
    searched = space if isinstance(space, Space) else None
    return StudyRecord(
        format=FORMAT,
        name=plan.settings.name,
        space=plan.settings.space,
        planned=min(plan.trials, searched.size or plan.trials) if searched else plan.trials,
        settings=replace(plan.settings, resume=""),
        knobs=space.knobs,
        domains={
            name: json.loads(distribution_to_json(domain))
            for name, domain in (searched.domains if searched else {}).items()
        },
        metrics=plan.metrics,
        constraints=tuple(plan.constraints),
        suite=TypeAdapter(Recipes).validate_python(asdict(space)) if isinstance(space, Suite) else Recipes(),
        cohort=CohortRecord(
            cohort.digest, len(cohort.images), cohort.images.shape[1:], cohort.spacing_mm, tuple(cohort.class_names)
        ),
        split=SplitRecord(**asdict(plan.split)),
        selection=plan.selection,
        references={
            name: ReferenceRecord(known.digest, known.seed, known.metrics) for name, known in references.items()
        },
        evidence_columns={**(before.evidence_columns if before else {}), **all_columns()},
        published=Published(**asdict(searched.published)) if searched and searched.published else None,
        versions={
            "python": sys.version.split()[0],
            "lethe": version(DISTRIBUTION),
            **{name: version(name) for name in _PACKAGES},
        },
        commit=revision(),
    )
