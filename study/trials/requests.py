"""Deletion requests as they come: each unlearned from the network that the one before left."""

from collections.abc import Mapping
from typing import Any

import ray
from rich.markup import escape

from study.cluster.shares import Resources, problem_of
from study.networks.references import Fit, FitError, Listener, Reference, fit_digests, fit_networks
from study.networks.weights import recipe_of
from study.planning.plan import Plan
from study.records.references import BASELINE, RETRAINED
from study.records.tables import Table, requests_table
from study.terminal.live import StudyView
from trainables.cohorts.cache import cache_dir
from trainables.data import Sets, Subset
from trainables.evidence.measurements import RecipeOf, metrics_of, weights_after
from trainables.seeds import seed_for

SEQUENTIAL, ONE_SHOT = "sequential", "one-shot"
"""Each request from the network before; all so far at once from the baseline. `RETRAINED` never saw them."""


def follow_requests(
    plan: Plan,
    references: Mapping[str, Reference],
    trial: Mapping[str, Any],
    resources: Resources,
    view: StudyView,
    listener: Listener,
) -> None:
    """Follow the plan's requests with a trial's recipe and write their table; a failing step is told of.

    Args:
        plan: the study, with requests.
        references: of the study.
        trial: the row whose recipe is followed, mostly the best feasible trial's.
        resources: of one task.
        view: shows the progress.
        listener: hears the epochs of the networks that are retrained for it.
    """
    table = requests_table(plan.settings.folder)
    steps = range(1, len(plan.requests) + 1)
    if {(row["step"], row["trial"]) for row in table.rows} >= {(step, trial["id"]) for step in steps}:
        return
    recipe, depth = recipe_of(plan, references, trial), plan.settings.depth
    try:
        retrained = _retrained(plan, references, resources, listener)
    except FitError as error:
        view.line(f"[red]requests not followed: {escape(str(error))}[/red]")
        return
    data, before = plan.shared, references[BASELINE].shared
    advance = view.begin("requests", len(plan.requests))
    previous = before
    for step in steps:
        asked = _subjects(plan, step)
        now = Sets(plan.data.retain + _later(plan, step), plan.data.forget_at(plan.requests[step - 1]))
        previous = resources.task(weights_after, data, previous, depth, now, _with_seed(recipe, step))
        at_once = resources.task(weights_after, data, before, depth, Sets(now.retain, asked), recipe)
        networks = {SEQUENTIAL: previous, ONE_SHOT: at_once, RETRAINED: retrained[step].shared}
        subsets = {"retain": plan.data.retain, "forget": asked, "heldout": plan.data.heldout}
        subsets |= {
            f"request-{number}": plan.data.forget_at(plan.requests[number - 1]) for number in range(1, step + 1)
        }
        found = {
            name: resources.task(metrics_of, data, network, depth, subsets) for name, network in networks.items()
        }
        try:
            _record(table, step, trial["id"], {name: ray.get(one) for name, one in found.items()})
        except ray.exceptions.RayError as error:
            view.line(f"request {step}  [red]not followed: {escape(problem_of(error))}[/red]")
            return
        advance(step)
    table.merge()


def _retrained(
    plan: Plan, references: Mapping[str, Reference], resources: Resources, listener: Listener
) -> dict[int, Reference]:
    """A network trained without the subjects of the first requests, for each number of them."""
    steps = range(1, len(plan.requests))
    fits = {f"without-{step}": Fit(plan.data.retain + _later(plan, step), plan.settings.seed) for step in steps}
    fitted = fit_networks(plan, fits, fit_digests(plan, fits), cache_dir(), resources, listener) if fits else {}
    return {**{step: fitted[f"without-{step}"] for step in steps}, len(plan.requests): references[RETRAINED]}


def _subjects(plan: Plan, step: int) -> Subset:
    """The subjects of the first requests."""
    return plan.data.forget_at(tuple(sorted(place for request in plan.requests[:step] for place in request)))


def _later(plan: Plan, step: int) -> Subset:
    """The subjects of the later requests, who are still retained."""
    return plan.data.forget_at(tuple(sorted(place for request in plan.requests[step:] for place in request)))


def _with_seed(recipe: RecipeOf, step: int) -> RecipeOf:
    seed = recipe.seed if step == 1 else seed_for(recipe.seed, f"request/{step}")
    return RecipeOf(recipe.strategy, recipe.knobs, seed, recipe.floor_dice)


def _record(table: Table, step: int, trial: str, found: Mapping[str, Mapping[str, float]]) -> None:
    rows = []
    for method, metrics in found.items():
        for name, value in metrics.items():
            subset, _, metric = name.rpartition("_")
            rows.append(
                {"step": step, "method": method, "trial": trial, "set": subset, "metric": metric, "value": value}
            )
    table.upsert(rows)
