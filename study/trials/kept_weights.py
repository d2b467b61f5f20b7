"""The final weights of the trials on the front, which a study keeps beside its tables.

A trial's row is written first: then it has ended, whatever happens next. Its weights are fetched after that, and its
checkpoints are removed last. A process that dies in between leaves a trial on the front whose weights lie in its
checkpoint only: the next session fetches them. Weights that are nowhere are computed again when they are asked for
(study/networks/weights.py).
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from study.cluster.storage import Storage
from study.networks.weights import front_weights
from study.records.files import write_json

ONE_BY_ONE = "out of memory: continued one scan at a time"
"""The `problem` of a trial whose weights cannot be computed again bit for bit."""


def keep_weights(rows: Iterable[Mapping[str, Any]], knobs: Iterable[str], folder: Path, storage: Storage) -> None:
    """Fetch what a study's folder lacks of the trials that are on the front, and remove their checkpoints.

    Args:
        rows: of the trial table; those of trials that are not on the front are passed over.
        knobs: the columns that make a trial's configuration.
        folder: of the study.
        storage: where trials have their checkpoints.
    """
    for row in rows:
        trial, weights = row["id"], front_weights(folder, row["id"])
        if not row["on_front"] or weights.exists() or (source := storage.final_weights(trial)) is None:
            continue
        weights.parent.mkdir(parents=True, exist_ok=True)
        config = {name: row[name] for name in ("id", "strategy", "seed")}
        config["knobs"] = {name: row[name] for name in knobs if row[name] is not None}
        write_json(weights.parent / "config.json", {**config, "one_by_one": row["problem"] == ONE_BY_ONE})
        storage.fetch(source, weights)
        storage.forget(trial)


def drop_weights(rows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Remove the weights of the trials that are not on the front any more."""
    on_front = {row["id"] for row in rows if row["on_front"]}
    for kept in (folder / "front").glob("*"):
        if kept.name not in on_front:
            shutil.rmtree(kept)
