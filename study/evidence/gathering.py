"""Evidence of forgetting, gathered as Ray tasks once the trials are done: on every reference and both picks."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray.exceptions import RayError
from rich.markup import escape

from analysis.evidence.conclude import Evidence, conclude
from analysis.evidence.conclusion import Examined, Findings, Judged, Terms
from study.cluster.nodes import problem_of
from study.evidence.columns import all_columns
from study.evidence.shadows import shadow_fits
from study.evidence.tasks import EvidenceTasks
from study.networks.references import FitError, fit_digests, fit_networks
from study.networks.session import Session
from study.planning.plan import Plan
from study.recording.recorder import Recorder
from study.records.evidence import EVIDENCE, STATE
from study.records.files import digest_of, write_json
from study.records.front import picks
from study.records.rows import TrialRow
from study.records.trials import FINISHED
from trainables.evidence.measurements import MEASURES

_VERSION = 3
"""Counts changes of the measurements that make recorded evidence stale."""

FRONT = "front"
"""What --examine calls all trials on the front."""

INCOMPLETE = " incomplete"
"""Ends the state of evidence that lacks what could not be measured: a later session tries again."""


def gather_evidence(session: Session, recorder: Recorder) -> None:
    """Examine what has not been examined under these settings, and record it.

    What cannot be measured of a network leaves its own columns empty. The view and the network's file in evidence/
    say why, and the next session tries again. Only a network that cannot be examined at all has no evidence.
    """
    plan, view = session.plan, session.view
    settings = plan.settings
    started, state = time.monotonic(), evidence_state(session, settings.shadows, settings.forget_draws)
    trials = {row.id: row for row in _examined_trials(plan, recorder)}
    due = [name for name in [*session.references, *trials] if recorder.row(name).examined != state]
    if not due:
        return
    fits = shadow_fits(plan)
    problems = {}
    try:
        shadows = fit_networks(session, fits, fit_digests(plan, fits), evaluate_every=plan.settings.baseline_epochs)
    except FitError as error:
        fits, shadows, problems = {}, {}, {"shadow networks": str(error)}
    weights = {name: shadow.shared for name, shadow in shadows.items()}
    tasks = EvidenceTasks(session, weights, fits, MEASURES.names())
    tasks.start(due, trials)
    terms = terms_of(plan)
    advance = view.begin("evidence", len(due))
    for number, name in enumerate(due, 1):
        try:
            findings, lacking = tasks.findings(name)
        except RayError as error:  # the study's results are there and must be shown
            view.line(f"{name}  [red]no evidence: {escape(problem_of(error))}[/red]")
        else:
            evidence = conclude(findings, terms)
            lacking = {**problems, **lacking, **evidence.problems}
            for part, reason in lacking.items():
                view.line(f"{name}  [yellow]no {escape(part)}: {escape(reason)}[/yellow]")
            _write_details(plan, name, findings, evidence, lacking)
            recorder.gathered(name, {**evidence.columns, STATE: state + INCOMPLETE * bool(lacking)})
        advance(number)
    view.line(f"evidence on {len(due)} networks in {time.monotonic() - started:.0f} s")


def asked(plan: Plan) -> set[str]:
    """The ids of --examine, or `FRONT`."""
    return {part.strip() for part in plan.settings.examine.split(",") if part.strip()}


def _examined_trials(plan: Plan, recorder: Recorder) -> list[TrialRow]:
    """The picks, those of --examine and, where it asks for them, those on the front."""
    ids = asked(plan) | {row.id for row in picks(recorder.rows, plan.objective).values()}
    return [row for row in recorder.rows if row.id in ids or (row.on_front and FRONT in ids)]


def unknown(plan: Plan, rows: Sequence[TrialRow]) -> list[str]:
    """The parts of --examine that name no finished trial."""
    return sorted(asked(plan) - {FRONT} - {row.id for row in rows if row.status == FINISHED})


def terms_of(plan: Plan) -> Terms:
    """What a verdict of a study is about."""
    measures = {name: MEASURES.load(name) for name in MEASURES.names()}
    judged = {
        name: Judged(one.title, one.unit, one.scale, one.remembered, one.judged) for name, one in measures.items()
    }
    return Terms(judged, plan.split.forget, plan.settings.margin, plan.settings.references)


def evidence_state(session: Session, shadows: int = 0, forget_draws: int = 0) -> str:
    """Stands for all that evidence depends on beside the network itself."""
    settings = session.plan.settings
    depends_on = [_VERSION, shadows, forget_draws, settings.objective, settings.baseline_lr]
    depends_on.append(settings.margin)
    further = sorted(all_columns().keys() - EVIDENCE.keys())
    return digest_of([*depends_on, *(reference.digest for reference in session.references.values()), *further])


def _write_details(
    plan: Plan, name: str, findings: Findings, evidence: Evidence, problems: Mapping[str, str]
) -> None:
    """Write evidence/<name>.json: every forget and held-out subject and class, beside the retrained references.

    `problems` holds why something is missing.
    """
    classes, split = plan.cohort.class_names[1:], plan.split

    def forget(network: Examined) -> dict[str, Any]:
        measured = {measure: values for measure, values in network.measures.items() if values.ndim}
        return _by_subject(network.forget, split.forget, classes, measured)

    first = len(split.forget)
    control = {
        measure: values[first:]
        for measure, values in findings.network.measures.items()
        if values.ndim and len(values) > first
    }
    folder = plan.settings.folder / "evidence"
    folder.mkdir(exist_ok=True)
    write_json(
        folder / f"{name}.json",
        {
            "forget": forget(findings.network),
            "heldout": _by_subject(findings.network.heldout, split.heldout, classes, control),
            "residual_memory": {
                subject: {name: one.subjects[place] for name, one in evidence.memories.items() if one.subjects}
                for place, subject in enumerate(split.forget)
            },
            "places": {
                subject: {score: places[number]._asdict() for score, places in evidence.places.items()}
                for number, subject in enumerate(split.forget)
            },
            "retrained": {other: forget(examined) for other, examined in findings.retrained.items()},
            "problems": problems,
        },
    )


def _by_subject(
    scores: Mapping[str, np.ndarray],
    subjects: Sequence[str],
    classes: Sequence[str],
    measured: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Pseudonym -> its scores, and its values of the measures that have one per subject."""
    return {
        subject: {
            "dice": float(scores["dice"][place]),
            "loss": float(scores["cross_entropy"][place]),
            "classes": dict(zip(classes, scores["class_dice"][place].tolist(), strict=True)),
            **{name: float(values[place]) for name, values in measured.items()},
        }
        for place, subject in enumerate(subjects)
    }
