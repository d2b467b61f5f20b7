"""The references of a study, fitted once as Ray tasks and cached by content."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from ray.exceptions import RayError
from safetensors.numpy import load_file, save_file

from study.cluster.nodes import problem_of
from study.networks.session import Reference, Session
from study.planning.plan import Plan
from study.records.failure import HaltedError, StudyError
from study.records.files import digest_of, write_json
from study.records.references import BASELINE, RETRAINED, retrained_names
from study.records.study_record import ReferenceRecord
from trainables.cache_entries import cached, caching
from trainables.cohorts.cache import cache_dir
from trainables.data import Subset, TrialData
from trainables.device import default_device, shared_tensor
from trainables.evaluation import Values, evaluate, nanmean
from trainables.fitting import fit, initial_network, network_of, weights_of
from trainables.med3d import WeightsError
from trainables.recipe import Recipe
from trainables.scan_metric import scan_metrics
from trainables.seeds import seed_for
from trainables.unlearning import EpochReport

_VERSION = 3
"""Counts changes of the fit that make cached references stale."""


FITS = 0.3
"""Dice on a cohort from which on a file of --weights knows it: whoever never saw its kind stays far below."""


class FitError(HaltedError):
    """A reference that could not be fitted."""


class Fit(NamedTuple):
    """A network to be fitted: who is taught, with which seed."""

    taught: Subset
    seed: int


def fit_digests(plan: Plan, fits: Mapping[str, Fit]) -> dict[str, str]:
    """The digest of each fit: cohort, split, model, recipe, who is taught, seed and initial weights.

    Raises:
        StudyError: the file of --weights cannot be used.
    """
    common = {
        "version": _VERSION,
        "torch": torch.__version__,
        "cohort": plan.cohort.digest,
        "subsets": plan.data.subsets,
        "depth": plan.settings.depth,
        "recipe": _recipe(plan).plain(),
    }
    return {
        name: digest_of({**common, **fit._asdict(), "initial": _initial_digest(plan, fit.seed)})
        for name, fit in fits.items()
    }


def reference_digests(plan: Plan, fits: Mapping[str, Fit], recorded: Mapping[str, ReferenceRecord]) -> dict[str, str]:
    """The digests of a study's references: those that its study.json has, as long as they are in the cache.

    What it fitted on another processor or with another torch has another digest, but is the study's all the same.

    Raises:
        StudyError: one was recorded, has left the cache and cannot be made again here.
    """
    digests = fit_digests(plan, fits)
    known = {name: recorded[name].digest for name in fits if name in recorded}
    lost = [name for name in lacking(known) if known[name] != digests[name]]
    if lost:
        reason = "the file of --weights, the version of torch or Lethe, or the kind of processor is another than then"
        raise StudyError(
            f"study {plan.settings.name!r} was started from another baseline: {', '.join(lost)} cannot be made again:"
            f" {reason}; bring its LETHE_CACHE back, or choose another --name"
        )
    return digests | known


def fit_networks(
    session: Session, fits: Mapping[str, Fit], digests: Mapping[str, str], evaluate_every: int = 5
) -> dict[str, Reference]:
    """The fitted networks, from the cache or fitted side by side where resources allow; the view shows their epochs.

    Args:
        session: of the study.
        fits: what to fit, by name.
        digests: of the fits, as `fit_digests` gives them.
        evaluate_every: epochs between evaluations; the last one is always evaluated.

    Raises:
        FitError: a fit whose loss is not finite, or whose task has failed.
    """
    plan, share = session.plan, session.resources
    if plan.settings.weights and lacking(digests):
        _check_clean(plan)
    depth, recipe, streams = plan.settings.depth, _recipe(plan), {}
    for name in lacking(digests):
        taught, seed = fits[name]
        task = ray.remote(_fit_reports).options(num_cpus=share.cpus, num_gpus=share.gpus)
        streams[name] = task.remote(
            plan.shared, _initial(plan, seed), taught, depth, recipe, seed, share.cpus, evaluate_every
        )
    for name, reports, weights in _gather(streams, session):
        _store(digests[name], reports, weights)
    return _completed(session, {name: _load(digest, fits[name].seed) for name, digest in digests.items()})


def _check_clean(plan: Plan) -> None:
    """Check that what the references start from does not know the cohort: a retrained network must not have seen it.

    Raises:
        StudyError: it segments the forget and held-out subjects already.
    """
    data, weights = plan.data, plan.settings.weights
    values = _measure(replace(data, retain=()), _initial(plan, plan.settings.seed), plan.settings.depth)
    dice = nanmean([*values["forget_dice"], *values["heldout_dice"]])
    if dice >= FITS:
        raise StudyError(
            f"--weights: {weights} segments this cohort already (Dice {dice:.2f} on forget and held-out subjects): it"
            " may have seen who is to be forgotten, and no reference that starts from it is a retrained one; give"
            " weights that were trained on other people, or none"
        )


def _completed(session: Session, references: dict[str, Reference]) -> dict[str, Reference]:
    """The same, with the values of metrics that were installed after a reference was fitted."""
    measured = ["forget_dice_views", *(f"retain_{metric}" for metric in scan_metrics())]
    stale = {
        name: reference
        for name, reference in references.items()
        if any(column not in reference.metrics for column in measured)
    }
    if not stale:
        return references  # without a Ray
    plan = session.plan
    tasks = [
        session.resources.task(_measure, plan.shared, reference.shared, plan.settings.depth)
        for reference in stale.values()
    ]
    try:
        values = ray.get(tasks)
    except RayError as error:
        raise FitError(f"the references cannot be measured: {problem_of(error)}") from error
    return {**references, **{name: stale[name].with_values(found) for name, found in zip(stale, values, strict=True)}}


def _measure(data: TrialData, weights: dict[str, np.ndarray], depth: int) -> Values:
    """Runs as a Ray task: every metric of every subject by a fitted network."""
    images, labels = (shared_tensor(array, default_device()) for array in (data.images, data.labels))
    return evaluate(network_of(weights, depth, data.classes), images, labels, data.subsets)


def lacking(digests: Mapping[str, str]) -> list[str]:
    """The names of the fits that are not in the cache."""
    return [name for name, digest in digests.items() if not cached(_folder(digest))]


def _folder(digest: str) -> Path:
    return cache_dir() / "references" / digest


def _fit_reports(
    data: TrialData,
    initial: dict[str, np.ndarray],
    taught: Subset,
    depth: int,
    recipe: Recipe,
    seed: int,
    threads: int,
    evaluate_every: int,
) -> Iterator[EpochReport | dict[str, np.ndarray]]:
    """Runs as a Ray task: a report per epoch, then the weights."""
    torch.set_num_threads(threads)
    network = network_of(initial, depth, data.classes)
    # Not `yield from`: Ray sends into this generator, which an iterator does not take.
    for report in fit(network, data, taught, recipe, seed, evaluate_every):  # noqa: UP028
        yield report
    yield weights_of(network)


def _gather(
    streams: Mapping[str, Any], session: Session
) -> Iterator[tuple[str, list[EpochReport], dict[str, np.ndarray]]]:
    """Each fit's name, reports and weights as it ends."""
    names = {stream: name for name, stream in streams.items()}
    bars = {name: session.view.begin(name, session.plan.settings.baseline_epochs) for name in streams}
    reports: dict[str, list[EpochReport]] = {name: [] for name in streams}
    # Held until the stream's end: Ray 2.60 keeps a task's arguments if what it gave was freed before it ended.
    weights: dict[str, ray.ObjectRef] = {}
    while names:
        (stream,), _ = ray.wait(list(names), num_returns=1)
        name = names[stream]
        try:
            given = next(stream)
            item = ray.get(given)
        except StopIteration:
            del names[stream]
            yield name, reports[name], ray.get(weights.pop(name))
            continue
        except RayError as error:
            raise FitError(f"the {name} fit failed: {problem_of(error)}") from error
        if isinstance(item, EpochReport):
            if item.diverged:
                raise FitError(f"the {name} fit diverged in epoch {item.epoch}: try a smaller --baseline-lr")
            reports[name].append(item)
            bars[name](item.epoch)
        else:
            weights[name] = given


def _store(digest: str, reports: list[EpochReport], weights: dict[str, np.ndarray]) -> None:
    rows = [{"epoch": r.epoch, "loss": r.loss, "seconds": r.seconds, **r.metrics} for r in reports]
    with caching(_folder(digest)) as temporary:
        save_file(weights, temporary / "weights.safetensors")
        last = reports[-1]
        write_json(
            temporary / "reference.json", {"metrics": last.metrics, "subjects": last.subjects, "history": rows}
        )


def _load(digest: str, seed: int) -> Reference:
    stored = json.loads((_folder(digest) / "reference.json").read_text())
    return Reference(digest, seed, **stored, weights=stored_weights(digest))


def stored_weights(digest: str) -> dict[str, np.ndarray]:
    """The weights of a reference that is in the cache."""
    return dict(load_file(_folder(digest) / "weights.safetensors"))


def reference_fits(plan: Plan) -> dict[str, Fit]:
    """Every reference of a plan; further retrained ones differ in all draws, initial weights and batches."""
    seed, data = plan.settings.seed, plan.data
    _, *others = retrained_names(plan.settings.references)
    further = {name: Fit(data.retain, seed_for(seed, f"reference/{number}")) for number, name in enumerate(others, 1)}
    return {BASELINE: Fit(data.retain + data.forget, seed), RETRAINED: Fit(data.retain, seed), **further}


def _initial(plan: Plan, seed: int) -> dict[str, np.ndarray]:
    try:
        return weights_of(initial_network(plan.settings.depth, plan.data.classes, seed, plan.settings.weights))
    except WeightsError as error:
        raise StudyError(f"--weights: {error}") from error


def _initial_digest(plan: Plan, seed: int) -> str:
    depth, classes = plan.settings.depth, plan.data.classes
    return _weights_digest(_initial(plan, seed)) if plan.settings.weights else _drawn_digest(depth, classes, seed)


@cache  # to draw a network takes up to a second, and every look at a study's references asks
def _drawn_digest(depth: int, classes: int, seed: int) -> str:
    return _weights_digest(weights_of(initial_network(depth, classes, seed)))


def _weights_digest(weights: dict[str, np.ndarray]) -> str:
    return digest_of({name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in weights.items()})


def _recipe(plan: Plan) -> Recipe:
    settings = plan.settings
    return Recipe(settings.baseline_epochs, settings.baseline_lr, augment=settings.baseline_augment)
