"""Evidence of forgetting, gathered as Ray tasks once the trials are done: on every reference and front trial."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray
from rich.markup import escape

from analysis.evidence import Examined, conclude
from analysis.membership import comparisons
from study.plan import Plan
from study.recording import Recorder
from study.records import FINISHED, digest_of, write_json
from study.references import BASELINE, Listener, Reference, fit_digests, fit_networks
from study.resources import Resources
from study.selection import selection
from study.shadows import other_forget_set, shadow_fits, shadow_split, worlds
from study.view import StudyView
from study.weights import recipe_of, trial_weights
from trainables.cohorts.cache import cache_dir
from trainables.evidence.examination import Examination, examine, scores_after, scores_of
from trainables.evidence.scores import Scores
from trainables.seeds import seed_for

RELEARNED = 0.95
"""Share of the baseline's forget Dice at which the forgotten counts as relearned."""

_VERSION = 1
"""Counts changes of the measurements that make recorded evidence stale."""


def gather_evidence(
    plan: Plan,
    references: Mapping[str, Reference],
    recorder: Recorder,
    resources: Resources,
    view: StudyView,
    listener: Listener,
) -> None:
    """Examine what has not been examined under these settings, and record it.

    A network whose measurement fails is told of and left without evidence.

    Args:
        plan: the study.
        references: all of its references.
        recorder: knows the trials and takes the evidence.
        resources: of one task, the same as a trial's.
        view: shows the progress.
        listener: hears the epochs of shadow fits.
    """
    state = _state(plan, references)
    trials = {row["id"]: row for row in recorder.rows if row["on_front"] or row["id"] in asked(plan)}
    due = [name for name in [*references, *trials] if recorder.evidence(name) != state]
    if not due:
        return
    fits, depth, targets = shadow_fits(plan), plan.settings.depth, plan.data.forget + plan.data.heldout
    shadows = fit_networks(plan, fits, fit_digests(plan, fits), cache_dir(), resources, listener)
    data = ray.put(plan.data)
    report = selection(plan).report_references
    others = ray.put({name: references[name].weights for name in report})
    target = RELEARNED * references[BASELINE].metrics["forget_dice"]
    seed, lr = seed_for(plan.settings.seed, "relearning"), plan.settings.baseline_lr

    weights = {name: ray.put(reference.weights) for name, reference in {**references, **shadows}.items()}
    for name in due:
        if name in trials:
            weights[name] = ray.put(trial_weights(plan, references, resources, trials[name]))
    examinations = {
        name: resources.task(examine, data, weights[name], others, depth, target, lr, seed)
        for name in dict.fromkeys([*report, *due])
    }
    before = [resources.task(scores_of, data, weights[name], depth, targets) for name in fits]
    after, draws = {}, {}
    for name in due:
        if name in trials:
            recipe = recipe_of(plan, references, trials[name])
            after[name] = [
                resources.task(
                    scores_after, data, weights[shadow], depth, shadow_split(plan.data, fit.taught), recipe, targets
                )
                for shadow, fit in fits.items()
            ]
            drawn = [
                other_forget_set(plan.data, seed_for(plan.settings.seed, f"forget draw/{number}"))
                for number in range(plan.settings.forget_draws)
            ]
            draws[name] = [
                resources.task(
                    scores_after, data, weights[BASELINE], depth, sets, recipe, sets.forget + plan.data.heldout
                )
                for sets in drawn
            ]

    advance = view.begin("evidence", len(due))
    for number, name in enumerate(due, 1):
        try:
            compared = {other: _examined(ray.get(examinations[other])) for other in report if other != name}
            mine = _examined(ray.get(examinations[name]))
            plain = ray.get(before)
            world = worlds(targets, fits, plain, ray.get(after.get(name, before))) if fits else None
            pooled = [_loss_attack(scores, len(plan.data.forget)) for scores in ray.get(draws.get(name, []))]
        except ray.exceptions.RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
            view.line(f"{name}  [red]no evidence: {escape(reason)}[/red]")
        else:
            found = conclude(mine, compared, world, pooled)
            _write_details(plan, name, mine, compared)
            recorder.gathered(name, {**found, "evidence": state})
        advance(number)


def asked(plan: Plan) -> set[str]:
    """The ids of --examine."""
    return {part.strip() for part in plan.settings.examine.split(",") if part.strip()}


def unknown(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of --examine that name no finished trial."""
    return sorted(asked(plan) - {row["id"] for row in rows if row["status"] == FINISHED})


def _state(plan: Plan, references: Mapping[str, Reference]) -> str:
    """Stands for all that evidence depends on beside the network itself."""
    settings = plan.settings
    given = [_VERSION, settings.shadows, settings.forget_draws, settings.objective, settings.baseline_lr]
    return digest_of([*given, *(reference.digest for reference in references.values())])


def _examined(found: Examination) -> Examined:
    return Examined(
        vars(found.forget), vars(found.heldout), found.relearn_steps, found.resurfaced_dice, found.distances
    )


def _loss_attack(scores: Scores, members: int) -> np.ndarray:
    return comparisons(-scores.cross_entropy[:members], -scores.cross_entropy[members:])


def _write_details(plan: Plan, name: str, mine: Examined, retrained: Mapping[str, Examined]) -> None:
    """Write evidence/<name>.json: every forget and held-out subject and class, beside the retrained references."""
    classes = plan.cohort.class_names[1:]

    def told(scores: Mapping[str, np.ndarray], subjects: Sequence[str]) -> dict[str, Any]:
        return {
            subject: {
                "dice": float(scores["dice"][place]),
                "loss": float(scores["cross_entropy"][place]),
                "classes": dict(zip(classes, scores["class_dice"][place].tolist(), strict=True)),
            }
            for place, subject in enumerate(subjects)
        }

    folder = plan.settings.folder / "evidence"
    folder.mkdir(exist_ok=True)
    write_json(
        folder / f"{name}.json",
        {
            "forget": told(mine.forget, plan.split.forget),
            "heldout": told(mine.heldout, plan.split.heldout),
            "retrained": {other: told(found.forget, plan.split.forget) for other, found in retrained.items()},
        },
    )
