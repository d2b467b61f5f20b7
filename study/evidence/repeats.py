"""The picks' recipes over further seeds: a pick is the best of many, and so reads better than its recipe is."""

import time
from collections.abc import Mapping
from dataclasses import replace

import ray
from ray.exceptions import RayError
from rich.markup import escape

from analysis.evidence.conclude import conclude
from study.cluster.nodes import problem_of
from study.evidence.gathering import INCOMPLETE, evidence_state, terms_of
from study.evidence.tasks import EvidenceTasks
from study.networks.session import Session
from study.networks.weights import weights_again
from study.recording.recorder import Recorder
from study.records.evidence import STATE
from study.records.references import BASELINE, RETRAINED
from study.records.rows import NetworkRow, TrialRow
from trainables.evidence.measurements import metrics_of
from trainables.gaps import gaps
from trainables.seeds import seed_for


def repeat_picks(session: Session, recorder: Recorder) -> None:
    """Run the recipe of every pick again with as many further seeds as `--repeats` says, and judge what it gives.

    The verdict is by the measures that a pick's own is by. What was judged under the same settings is not run again.
    A failure costs a repeat alone: the view says why, and the next session tries again.
    """
    plan, view, references = session.plan, session.view, session.references
    started, state, terms = time.monotonic(), evidence_state(session), terms_of(plan)
    due = _due(session, recorder, state)
    if not due:
        return
    weights = {name: weights_again(session, row) for name, row in due.items()}
    measured = {
        name: session.resources.task(metrics_of, plan.shared, network, plan.settings.depth, plan.data.subsets)
        for name, network in weights.items()
    }
    judged = [name for name, measure in terms.measures.items() if measure.judged]
    tasks = EvidenceTasks(session, weights, {}, judged)
    tasks.start(list(due), {})
    advance = view.begin("repeats", len(due))
    for number, (name, row) in enumerate(due.items(), 1):
        try:
            metrics: Mapping[str, float] = ray.get(measured[name])
            findings, lacking = tasks.findings(name)
        except RayError as error:
            view.line(f"{name}  [red]not repeated: {escape(problem_of(error))}[/red]")
        else:
            evidence = conclude(findings, terms)
            lacking |= evidence.problems
            for part, reason in lacking.items():
                view.line(f"{name}  [yellow]no {escape(part)}: {escape(reason)}[/yellow]")
            metrics = {**metrics, **gaps(metrics, references[BASELINE].metrics, references[RETRAINED].metrics)}
            columns = {**evidence.columns, STATE: state + INCOMPLETE * bool(lacking)}
            recorder.repeated(NetworkRow(id=row.id, seed=row.seed, metrics=metrics, evidence=columns))
        advance(number)
    view.line(f"recipes repeated {len(due)} times in {time.monotonic() - started:.0f} s")


def _due(session: Session, recorder: Recorder, state: str) -> dict[str, TrialRow]:
    """The picks with each seed that is still to be run, by a name."""
    settings, due = session.plan.settings, {}
    for row in recorder.picks.values():
        done = {again.seed for again in recorder.repeats_of(row.id) if again.examined == state}
        for number in range(1, settings.repeats + 1):
            seed = seed_for(settings.seed, f"repeat/{number}")
            if seed not in done:
                due[f"{row.id} repeat {number}"] = replace(row, seed=seed)
    return due
