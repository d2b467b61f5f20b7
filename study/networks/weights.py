"""The final weights of a trial: kept, where it is on the front, else computed again from its record."""

import contextlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import ray
from rich.console import Console
from safetensors import SafetensorError
from safetensors.numpy import load_file

from study.cluster.joining import cluster, trial_share
from study.networks.references import fit_networks, lacking, reference_digests, reference_fits, stored_weights
from study.networks.session import Session
from study.planning.plan import Plan, make_plan
from study.records.failure import StudyError
from study.records.references import BASELINE
from study.records.rows import TrialRow
from study.records.study_record import StudyRecord, recorded_settings
from study.terminal.live import StudyView
from trainables.data import Sets
from trainables.evidence.measurements import RecipeOf, weights_after
from trainables.trainable import WEIGHTS_FILE


def recipe_of(session: Session, row: TrialRow) -> RecipeOf:
    """What a trial did."""
    floor = session.plan.settings.retain_floor * session.references[BASELINE].metrics["retain_dice"]
    return RecipeOf(row.strategy, row.knobs, row.seed, floor)


def trial_weights(session: Session, row: TrialRow) -> ray.ObjectRef:
    """A finished trial's weights, in the object store or on their way there.

    They come from the study's front or, where they were not kept or the file is damaged, from running the trial again
    (on the CPU with as many threads as then, which makes them the same bit for bit).
    """
    kept = kept_weights(session.plan.settings.folder, row.id)
    return weights_again(session, row) if kept is None else ray.put(kept)


def weights_again(session: Session, row: TrialRow) -> ray.ObjectRef:
    """The weights that a trial's recipe gives with its seed, on their way to the object store."""
    plan, baseline = session.plan, session.references[BASELINE]
    data, recipe, depth, given = plan.data, recipe_of(session, row), plan.settings.depth, plan.settings.cpus_per_trial
    sets = Sets(data.retain, data.forget, data.heldout, data.steering)
    threads = row.cpus or (given if isinstance(given, int) else None)
    return session.resources.task(weights_after, plan.shared, baseline.shared, depth, sets, recipe, threads=threads)


def front_weights(folder: Path, trial: str) -> Path:
    """Where a study keeps the weights of a trial on its front."""
    return folder / "front" / trial / WEIGHTS_FILE


def kept_weights(folder: Path, trial: str) -> dict[str, np.ndarray] | None:
    """The weights that a study keeps of a trial; None without any, or if their file is damaged."""
    with contextlib.suppress(OSError, SafetensorError):
        return dict(load_file(front_weights(folder, trial)))
    return None


class Networks(NamedTuple):
    """The plan of a study, and the weights before and after a trial."""

    plan: Plan
    baseline: dict[str, np.ndarray]
    unlearned: dict[str, np.ndarray]


def networks_again(record: StudyRecord, folder: Path, row: TrialRow) -> Networks:
    """The baseline and a finished trial of a recorded study; the cohort must still be there.

    What was not kept is computed again, as Ray tasks.

    Args:
        record: its study.json.
        folder: of the study.
        row: the trial.

    Raises:
        StudyError: the cohort cannot be read, or is another one than the study's, or the baseline would be another.
    """
    settings = recorded_settings(folder)
    plan = make_plan(settings)
    if asdict(plan.split) != asdict(record.split):
        raise StudyError([f"study {folder.name!r} was made with another LETHE_CACHE: its key gives other pseudonyms"])
    fits = {BASELINE: reference_fits(plan)[BASELINE]}
    digests = reference_digests(plan, fits, record.references)
    kept = kept_weights(folder, row.id)
    if kept is not None and not lacking(digests):
        return Networks(plan, stored_weights(digests[BASELINE]), kept)
    here = replace(settings, address="", verbose=False, cpus_per_trial=None, gpus_per_trial=None)
    with cluster(here, lambda text: None) as nodes:
        session = Session(plan, trial_share(here, nodes), StudyView(Console(quiet=True)))
        session = replace(session, references=fit_networks(session, fits, digests))
        unlearned = dict(ray.get(trial_weights(session, row)))
        return Networks(plan, session.references[BASELINE].weights, unlearned)
