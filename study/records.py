"""The study's records on disk: study.json, trials.parquet and history.parquet (see docs/formats.md)."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

SUBJECT_METRICS = ("dice", "mae")
"""The metrics of a subject."""

METRICS = (
    *(f"{subset}_{metric}" for metric in SUBJECT_METRICS for subset in ("retain", "forget", "heldout")),
    *("dice_gap", "mae_gap", "retention", "retrain_gap", "unseen_gap"),
)
"""Every metric of an epoch and of a trial, as defined in docs/metrics.md; all float, NaN where undefined."""


_AUCS = ("loss_auc", "dice_auc", "lira_auc", "rmia_auc", "pooled_auc", "probe_auc")
EVIDENCE: dict[str, pa.DataType] = {
    **dict.fromkeys(("retrained_low", "retrained_high"), pa.float64()),
    **dict.fromkeys(("remembers", "over_forgets", "streisand"), pa.bool_()),
    **dict.fromkeys(("streisand_p", "subject_gap", "class_gap", "equivalence_p"), pa.float64()),
    **dict.fromkeys((f"{name}{end}" for name in _AUCS for end in ("", "_low", "_high")), pa.float64()),
    **dict.fromkeys((f"relearn_steps{end}" for end in ("", "_retrained")), pa.float64()),
    **dict.fromkeys((f"resurfaced_dice{end}" for end in ("", "_retrained")), pa.float64()),
    **dict.fromkeys((f"activation_distance{end}" for end in ("", "_retrained")), pa.float64()),
    "evidence": pa.string(),
}
"""The evidence columns (docs/evidence.md), null where none was gathered; `evidence` stands for its settings."""


class Objective(NamedTuple):
    """What a study searches for, under the retain floor.

    Attributes:
        metric: the column that decides.
        sign: 1 to maximise it, -1 to minimise it.
        forgetting: the column that stands for forgetting on the front; smaller is better.
        title: of that column's axis.
        told: what the terminal says.
    """

    metric: str
    sign: int
    forgetting: str
    title: str
    told: str

    def score(self, row: Mapping[str, Any]) -> float:
        """The value to maximise; NaN where the metric is undefined or not there yet."""
        value = row[self.metric]
        return math.nan if value is None else self.sign * value


OBJECTIVES = {
    "gap": Objective("dice_gap", 1, "forget_dice", "Forget Dice", "maximise the Dice gap"),
    "retrain": Objective(
        "retrain_gap", -1, "retrain_gap", "|forget - retrained forget Dice|", "minimise the retrain gap"
    ),
    "unseen": Objective("unseen_gap", -1, "unseen_gap", "|forget - held-out Dice|", "minimise the unseen gap"),
}
"""The objectives by the word on the command line; docs/metrics.md defines their columns."""

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
"""The statuses of a trial; a study that was interrupted leaves `running` trials, which a resume continues."""

Knob = float | int | str | bool


@dataclass(frozen=True)
class TrialConfig:
    """Everything that decides what a trial computes, as plain values.

    Attributes:
        strategy: file name of the preset in trainables/strategies.
        knobs: the preset's and the recipe's (lr, epochs); those not named have their defaults.
        seed: of the trial's own draws (batches, noise labels).
        baseline: digest of the baseline reference, which stands for cohort, split and model too.
    """

    strategy: str
    knobs: Mapping[str, Knob]
    seed: int
    baseline: str

    @property
    def signature(self) -> str:
        """Short hash of the configuration: the trial's id; same arguments, same id."""
        return digest_of(asdict(self))

    def trial(self, checkpoint: Path | None) -> dict[str, Any]:
        """The config of the Tune trial, which continues from a state file if there is one."""
        return {
            "id": self.signature,
            "strategy": self.strategy,
            "knobs": dict(self.knobs),
            "seed": self.seed,
            "checkpoint": str(checkpoint) if checkpoint else None,
        }


def digest_of(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of the value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class Table:
    """Rows keyed by some of their columns, in one Parquet file that is replaced as a whole on every write.

    A reader, or a process killed at any moment, sees the file as it was before or after a write.
    """

    def __init__(self, path: Path, schema: pa.Schema, key: tuple[str, ...]):
        self.path, self.schema, self._key = path, schema, key
        stored = pq.read_table(pa.BufferReader(path.read_bytes())).to_pylist() if path.exists() else []
        self._rows = {self._key_of(row): row for row in stored}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, in the order in which their keys first appeared."""
        return list(self._rows.values())

    def upsert(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, or replace those with the same key, and write the file."""
        for row in rows:
            self._rows[self._key_of(row)] = dict(row)
        table = pa.Table.from_pylist(self.rows, self.schema)
        replace_file(self.path, lambda path: pq.write_table(table, path))

    def _key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._key)


def trials_table(folder: Path, knobs: Mapping[str, type]) -> Table:
    """The table of a study's trials, one row per trial id.

    Args:
        folder: the study's folder.
        knobs: the searched knobs and the Python type of their values, one column each.
    """
    arrow = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    columns = [("id", pa.string()), ("strategy", pa.string()), ("seed", pa.int64())]
    columns += [(name, arrow[kind]) for name, kind in knobs.items()]
    columns += [(name, pa.float64()) for name in METRICS]
    columns += [(name, pa.bool_()) for name in ("feasible", "on_front", "diverged")]
    columns += [("epochs_done", pa.int64()), ("seconds", pa.float64()), ("status", pa.string())]
    columns += EVIDENCE.items()
    return Table(folder / "trials.parquet", pa.schema(columns), ("id",))


def references_table(folder: Path) -> Table:
    """The table of a study's references, one row per name (baseline, retrained, retrained-1, ...)."""
    columns = [("id", pa.string()), ("digest", pa.string()), ("seed", pa.int64())]
    columns += [(name, pa.float64()) for name in METRICS if not name.endswith(("_gap", "retention"))]
    return Table(folder / "references.parquet", pa.schema([*columns, *EVIDENCE.items()]), ("id",))


def history_table(folder: Path) -> Table:
    """The table of a study's epochs, one row per trial id and epoch (from 1)."""
    columns = [("id", pa.string()), ("epoch", pa.int64()), *((name, pa.float64()) for name in METRICS)]
    schema = pa.schema([*columns, ("loss", pa.float64()), ("seconds", pa.float64())])
    return Table(folder / "history.parquet", schema, ("id", "epoch"))


def subjects_table(folder: Path) -> Table:
    """The table of single subjects: one row per trial or reference id, epoch and subject (a pseudonym)."""
    columns = [("id", pa.string()), ("epoch", pa.int64()), ("set", pa.string()), ("subject", pa.string())]
    schema = pa.schema([*columns, *((name, pa.float64()) for name in SUBJECT_METRICS)])
    return Table(folder / "subjects.parquet", schema, ("id", "epoch", "subject"))


def sequence_table(folder: Path) -> Table:
    """The table of deletion requests: one value per step, method, set (request-N too) and metric."""
    columns = [("step", pa.int64()), ("method", pa.string()), ("trial", pa.string()), ("set", pa.string())]
    schema = pa.schema([*columns, ("metric", pa.string()), ("value", pa.float64())])
    return Table(folder / "sequence.parquet", schema, ("step", "method", "set", "metric"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader never sees half of it."""
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n"))


def replace_file(path: Path, write: Any) -> None:
    """Let `write` fill a temporary neighbour of `path`, then put it in place in one step."""
    temporary = path.with_name(f".{path.name}.partial")
    write(temporary)
    temporary.replace(path)
