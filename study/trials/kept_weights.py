"""The final weights of the trials on the front and of the picks, which a study keeps beside its tables.

A trial's row is written first: then it has ended, whatever happens next. Its weights are fetched after that, and its
checkpoints are removed last. A process that dies in between leaves such a trial, whose weights lie in its
checkpoint only: the next session fetches them. Weights that are nowhere are computed again when they are asked for
(study/networks/weights.py).
"""

import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from study.cluster.storage import Storage
from study.networks.weights import front_weights
from study.records.files import write_json
from study.records.rows import TrialRow

ONE_BY_ONE = "out of memory: continued one scan at a time"
"""The `problem` of a trial whose weights cannot be computed again bit for bit."""


def keep_weights(rows: Iterable[TrialRow], kept: Collection[str], folder: Path, storage: Storage) -> None:
    """Fetch the weights of trials that a study's folder lacks, and remove their checkpoints.

    Args:
        rows: trials.
        kept: ids of those whose weights are kept; the others are passed over.
        folder: of the study.
        storage: where trials have their checkpoints.
    """
    for row in rows:
        weights = front_weights(folder, row.id)
        if row.id not in kept or weights.exists() or (source := storage.final_weights(row.id)) is None:
            continue
        weights.parent.mkdir(parents=True, exist_ok=True)
        config = {"id": row.id, "strategy": row.strategy, "seed": row.seed, "knobs": dict(row.knobs)}
        write_json(weights.parent / "config.json", {**config, "one_by_one": row.problem == ONE_BY_ONE})
        storage.fetch(source, weights)
        storage.forget(row.id)


def drop_weights(kept: Collection[str], folder: Path) -> None:
    """Remove the weights of all trials but these."""
    for weights in (folder / "front").glob("*"):
        if weights.name not in kept:
            shutil.rmtree(weights)
