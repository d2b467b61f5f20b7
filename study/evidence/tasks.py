"""The Ray tasks that measure networks for the evidence."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import ray
from ray.exceptions import RayError

from analysis.evidence.conclusion import Examined, Findings
from analysis.statistics.membership import comparisons
from study.cluster.nodes import problem_of
from study.evidence.shadows import other_forget_set, shadow_split, worlds
from study.networks.references import Fit
from study.networks.session import Session
from study.networks.weights import recipe_of, trial_weights
from study.records.references import BASELINE
from study.records.rows import TrialRow
from trainables.data import Sets, Subset
from trainables.evidence.measurements import Examination, examine, scores_after, scores_of
from trainables.evidence.scores import Scores
from trainables.seeds import seed_for

T = TypeVar("T")


class EvidenceTasks:
    """The Ray tasks of the evidence, what they share in the object store, and what they give."""

    def __init__(
        self,
        session: Session,
        networks: Mapping[str, ray.ObjectRef],
        fits: Mapping[str, Fit],
        measures: Sequence[str],
    ):
        """Share the references and further networks, as the shadows, which were fitted so; measure them by name."""
        plan, references = session.plan, session.references
        self._session, self._plan, self._fits = session, plan, fits
        self._data, self._depth = plan.shared, plan.settings.depth
        self._targets = plan.data.forget + plan.data.heldout
        self._measures = measures
        self._weights = {**{name: network.shared for name, network in references.items()}, **networks}
        self._report = plan.selection.report_references
        self._retrained = ray.put({name: references[name].weights for name in self._report})

    def start(self, due: Sequence[str], trials: Mapping[str, TrialRow]) -> None:
        """Start all that is needed.

        Args:
            due: names of references and ids of trials.
            trials: id -> row.
        """
        names = dict.fromkeys([BASELINE, *self._report, *due])
        self._examinations = {name: self._examine(name, trials.get(name)) for name in names}
        self._fitted = self._score_shadows()
        self._unlearned = {name: self._unlearn_shadows(trials[name]) for name in due if name in trials}
        self._draws = {name: self._draw_others(trials[name]) for name in due if name in trials}

    def findings(self, name: str) -> tuple[Findings, dict[str, str]]:
        """What was measured of a network that is due, and why the rest was not; waits for it.

        Raises:
            RayError: the network cannot be examined.
        """
        examination: Examination = ray.get(self._examinations[name])
        problems = dict(examination.problems)

        def attempt(part: str, get: Callable[[], T]) -> T | None:
            try:
                return get()
            except RayError as error:
                problems[part] = problem_of(error)
                return None

        def compared(other: str) -> Examined | None:
            return attempt(f"comparison with {other}", lambda: _examined(ray.get(self._examinations[other])))

        others = {other: compared(other) for other in self._report if other != name}
        baseline = compared(BASELINE)
        after, targets = self._unlearned.get(name, self._fitted), self._targets
        both = attempt("shadow networks", lambda: (ray.get(self._fitted), ray.get(after)))
        draws = attempt("further forget draws", lambda: ray.get(self._draws.get(name, []))) or []
        findings = Findings(
            _examined(examination),
            {other: examined for other, examined in others.items() if examined is not None},
            {BASELINE: baseline} if baseline is not None else {},
            worlds(targets, self._fits, *both) if self._fits and both else None,
            [_loss_attack(scores, len(self._plan.data.forget)) for scores in draws],
        )
        return findings, problems

    def _examine(self, name: str, trial: TrialRow | None) -> ray.ObjectRef:
        """The measurements of a reference or a trial."""
        settings, baseline_dice = self._plan.settings, self._session.references[BASELINE].metrics["forget_dice"]
        weights: Any = self._weights.get(name)
        if trial is not None:
            weights = trial_weights(self._session, trial)
        seed, lr = seed_for(settings.seed, "relearning"), settings.baseline_lr
        return self._session.resources.task(
            examine,
            self._data,
            weights,
            self._retrained,
            self._weights[BASELINE],
            self._depth,
            baseline_dice,
            lr,
            seed,
            self._measures,
            self._plan.cohort.spacing_mm,
        )

    def _score_shadows(self) -> list[ray.ObjectRef]:
        """The scores of the forget and held-out subjects under every shadow."""
        return [
            self._session.resources.task(scores_of, self._data, self._weights[name], self._depth, self._targets)
            for name in self._fits
        ]

    def _unlearn_shadows(self, trial: TrialRow) -> list[ray.ObjectRef]:
        """The same after every shadow has unlearned those that it had by the trial's recipe."""
        return [
            self._after(name, shadow_split(self._plan.data, fit.taught), trial, self._targets)
            for name, fit in self._fits.items()
        ]

    def _draw_others(self, trial: TrialRow) -> list[ray.ObjectRef]:
        """The scores of other forget sets and the held-out subjects after the baseline has unlearned the former."""
        drawn = [
            other_forget_set(self._plan.data, seed_for(self._plan.settings.seed, f"forget draw/{number}"))
            for number in range(self._plan.settings.forget_draws)
        ]
        return [self._after(BASELINE, sets, trial, sets.forget + self._plan.data.heldout) for sets in drawn]

    def _after(self, network: str, sets: Sets, trial: TrialRow, subset: Subset) -> ray.ObjectRef:
        recipe = recipe_of(self._session, trial)
        return self._session.resources.task(
            scores_after, self._data, self._weights[network], self._depth, sets, recipe, subset
        )


def _examined(examination: Examination) -> Examined:
    return Examined(vars(examination.forget), vars(examination.heldout), examination.values, examination.quality)


def _loss_attack(scores: Scores, members: int) -> np.ndarray:
    return comparisons(-scores.cross_entropy[:members], -scores.cross_entropy[members:])
