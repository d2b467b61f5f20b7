"""Deletion requests as they come: each unlearned from the network that the one before left."""

from collections.abc import Mapping

import ray
from rich.markup import escape

from study.cluster.nodes import problem_of
from study.networks.references import Fit, FitError, fit_digests, fit_networks
from study.networks.session import Reference, Session
from study.networks.weights import recipe_of
from study.planning.plan import Plan
from study.records.references import BASELINE, RETRAINED
from study.records.rows import TrialRow
from study.records.tables import Table, requests_table
from trainables.data import Sets, Subset
from trainables.evidence.measurements import RecipeOf, metrics_of, weights_after
from trainables.seeds import seed_for

SEQUENTIAL, ONE_SHOT = "sequential", "one-shot"
"""Each request from the network before; all so far at once from the baseline. `RETRAINED` never saw them."""


def follow_requests(session: Session, trial: TrialRow) -> None:
    """Follow the plan's requests with the recipe of a trial, and write their table.

    A step that fails ends them, and the view says why; the steps before it stay in the table.
    """
    plan, view = session.plan, session.view
    table = requests_table(plan.settings.folder)
    steps = range(1, len(plan.requests) + 1)
    if {(row["step"], row["trial"]) for row in table.rows} >= {(step, trial.id) for step in steps}:
        return
    recipe = recipe_of(session, trial)
    try:
        retrained = _retrained(session)
    except FitError as error:
        view.line(f"[red]requests not followed: {escape(str(error))}[/red]")
        return
    advance = view.begin("requests", len(plan.requests))
    baseline = previous = session.references[BASELINE].shared
    for step in steps:
        networks = _networks(session, recipe, step, previous, baseline)
        previous = networks[SEQUENTIAL]
        metrics = _metrics(session, step, {**networks, RETRAINED: retrained[step].shared})
        try:
            _record(table, step, trial.id, {method: ray.get(task) for method, task in metrics.items()})
        except ray.exceptions.RayError as error:
            view.line(f"request {step}  [red]not followed: {escape(problem_of(error))}[/red]")
            return
        advance(step)
    table.merge()


def _networks(
    session: Session, recipe: RecipeOf, step: int, previous: ray.ObjectRef, baseline: ray.ObjectRef
) -> dict[str, ray.ObjectRef]:
    """The weights after a request, on their way: from those before it, and at once from the baseline."""
    plan, task = session.plan, session.resources.task
    data, depth = plan.shared, plan.settings.depth
    retain = plan.data.retain + _later(plan, step)
    now = Sets(retain, plan.data.forget_at(plan.requests[step - 1]))
    return {
        SEQUENTIAL: task(weights_after, data, previous, depth, now, _with_seed(recipe, step)),
        ONE_SHOT: task(weights_after, data, baseline, depth, Sets(retain, _subjects(plan, step)), recipe),
    }


def _metrics(session: Session, step: int, networks: Mapping[str, ray.ObjectRef]) -> dict[str, ray.ObjectRef]:
    """The metrics of each network after a request, on their way: of all sets, and of every request so far."""
    plan = session.plan
    subsets = {"retain": plan.data.retain, "forget": _subjects(plan, step), "heldout": plan.data.heldout}
    for number, request in enumerate(plan.requests[:step], start=1):
        subsets[f"request-{number}"] = plan.data.forget_at(request)
    return {
        method: session.resources.task(metrics_of, plan.shared, network, plan.settings.depth, subsets)
        for method, network in networks.items()
    }


def _retrained(session: Session) -> dict[int, Reference]:
    """A network trained without the subjects of the first requests, for each number of them."""
    plan = session.plan
    steps = range(1, len(plan.requests))
    fits = {f"without-{step}": Fit(plan.data.retain + _later(plan, step), plan.settings.seed) for step in steps}
    fitted = fit_networks(session, fits, fit_digests(plan, fits))
    return {**{step: fitted[f"without-{step}"] for step in steps}, len(plan.requests): session.references[RETRAINED]}


def _subjects(plan: Plan, step: int) -> Subset:
    """The subjects of the first requests."""
    return plan.data.forget_at(tuple(sorted(place for request in plan.requests[:step] for place in request)))


def _later(plan: Plan, step: int) -> Subset:
    """The subjects of the later requests, who are still retained."""
    return plan.data.forget_at(tuple(sorted(place for request in plan.requests[step:] for place in request)))


def _with_seed(recipe: RecipeOf, step: int) -> RecipeOf:
    seed = recipe.seed if step == 1 else seed_for(recipe.seed, f"request/{step}")
    return RecipeOf(recipe.strategy, recipe.knobs, seed, recipe.floor_dice)


def _record(table: Table, step: int, trial: str, methods: Mapping[str, Mapping[str, float]]) -> None:
    rows = []
    for method, metrics in methods.items():
        for name, value in metrics.items():
            subset, _, metric = name.partition("_")
            rows.append(
                {"step": step, "method": method, "trial": trial, "set": subset, "metric": metric, "value": value}
            )
    table.upsert(rows)
