"""Evidence of forgetting, gathered as Ray tasks once the trials are done: on every reference and front trial."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ray
from rich.markup import escape

from analysis.evidence import Examined, conclude
from analysis.statistics.membership import comparisons
from study.cluster.shares import Resources, problem_of
from study.evidence.shadows import other_forget_set, shadow_fits, shadow_split, worlds
from study.networks.references import Fit, FitError, Listener, Reference, fit_digests, fit_networks
from study.networks.weights import recipe_of, trial_weights
from study.planning.plan import Plan
from study.planning.steering import selection
from study.recording.recorder import Recorder
from study.records.files import digest_of, write_json
from study.records.references import BASELINE
from study.records.trials import FINISHED
from study.terminal.live import StudyView
from trainables.cohorts.cache import cache_dir
from trainables.data import Sets, Subset
from trainables.evidence.measurements import Examination, examine, scores_after, scores_of
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
    started, state = time.monotonic(), _state(plan, references)
    trials = {row["id"]: row for row in recorder.rows if row["on_front"] or row["id"] in asked(plan)}
    due = [name for name in [*references, *trials] if recorder.evidence(name) != state]
    if not due:
        return
    fits = shadow_fits(plan)
    last_only = plan.settings.baseline_epochs
    try:
        shadows = fit_networks(plan, fits, fit_digests(plan, fits), cache_dir(), resources, listener, last_only)
    except FitError as error:
        view.line(f"[red]no attacks with shadow networks: {escape(str(error))}[/red]")
        fits, shadows = {}, {}
    tasks = _Tasks(plan, resources, references, shadows, fits)
    report = selection(plan).report_references
    examinations = {name: tasks.examine(name, trials.get(name)) for name in dict.fromkeys([*report, *due])}
    plain = tasks.score_shadows()
    unlearned = {name: tasks.unlearn_shadows(trials[name]) for name in due if name in trials}
    draws = {name: tasks.draw_others(trials[name]) for name in due if name in trials}

    targets, members = plan.data.forget + plan.data.heldout, len(plan.data.forget)
    advance = view.begin("evidence", len(due))
    for number, name in enumerate(due, 1):
        try:
            mine = _examined(ray.get(examinations[name]))
            compared = {other: _examined(ray.get(examinations[other])) for other in report if other != name}
            after = ray.get(unlearned.get(name, plain))
            world = worlds(targets, fits, ray.get(plain), after) if fits else None
            pooled = [_loss_attack(scores, members) for scores in ray.get(draws.get(name, []))]
            found = conclude(mine, compared, world, pooled)
        except Exception as error:  # whatever a measurement meets, the study's results are there and must be shown
            view.line(f"{name}  [red]no evidence: {escape(problem_of(error))}[/red]")
        else:
            _write_details(plan, name, mine, compared)
            recorder.gathered(name, {**found, "evidence": state})
        advance(number)
    view.line(f"evidence on {len(due)} networks in {time.monotonic() - started:.0f} s")


class _Tasks:
    """The Ray tasks of the evidence, and what they share in the object store."""

    def __init__(
        self,
        plan: Plan,
        resources: Resources,
        references: Mapping[str, Reference],
        shadows: Mapping[str, Reference],
        fits: Mapping[str, Fit],
    ):
        self._plan, self._resources, self._references, self._fits = plan, resources, references, fits
        self._data, self._depth = plan.shared, plan.settings.depth
        self._weights = {name: network.shared for name, network in {**references, **shadows}.items()}
        report = selection(plan).report_references
        self._report = ray.put({name: references[name].weights for name in report})

    def examine(self, name: str, trial: Mapping[str, Any] | None) -> ray.ObjectRef:
        """The measurements of a reference or a trial."""
        settings, baseline = self._plan.settings, self._references[BASELINE]
        target, seed = RELEARNED * baseline.metrics["forget_dice"], seed_for(settings.seed, "relearning")
        weights: Any = self._weights.get(name)
        if trial is not None:
            weights = trial_weights(self._plan, self._references, self._resources, trial)
        return self._resources.task(
            examine, self._data, weights, self._report, self._depth, target, settings.baseline_lr, seed
        )

    def score_shadows(self) -> list[ray.ObjectRef]:
        """The scores of the forget and held-out subjects under every shadow."""
        targets = self._plan.data.forget + self._plan.data.heldout
        return [
            self._resources.task(scores_of, self._data, self._weights[name], self._depth, targets)
            for name in self._fits
        ]

    def unlearn_shadows(self, trial: Mapping[str, Any]) -> list[ray.ObjectRef]:
        """The same after every shadow has unlearned those that it had by the trial's recipe."""
        targets = self._plan.data.forget + self._plan.data.heldout
        return [
            self._after(name, shadow_split(self._plan.data, fit.taught), trial, targets)
            for name, fit in self._fits.items()
        ]

    def draw_others(self, trial: Mapping[str, Any]) -> list[ray.ObjectRef]:
        """The scores of other forget sets and the held-out subjects after the baseline has unlearned the former."""
        drawn = [
            other_forget_set(self._plan.data, seed_for(self._plan.settings.seed, f"forget draw/{number}"))
            for number in range(self._plan.settings.forget_draws)
        ]
        return [self._after(BASELINE, sets, trial, sets.forget + self._plan.data.heldout) for sets in drawn]

    def _after(self, network: str, sets: Sets, trial: Mapping[str, Any], subset: Subset) -> ray.ObjectRef:
        recipe = recipe_of(self._plan, self._references, trial)
        return self._resources.task(
            scores_after, self._data, self._weights[network], self._depth, sets, recipe, subset
        )


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
