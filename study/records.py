"""What a study's records are made of: metrics, objectives, statuses, and the configuration of a trial."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

STUDIES = "LETHE_STUDIES"
"""Environment variable that names the folder of all studies."""

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


def studies_folder() -> Path:
    """Where all studies are unless told otherwise: `LETHE_STUDIES`, or `studies` here."""
    return Path(os.environ.get(STUDIES, "studies"))


class Goal(NamedTuple):
    """A column of the trial table to make large (sign 1) or small (sign -1)."""

    column: str
    sign: int

    def score(self, row: Mapping[str, Any]) -> float:
        """The value to maximise; NaN where the metric is undefined or not there yet."""
        value = row[self.column]
        return math.nan if value is None else self.sign * value


class Objective(NamedTuple):
    """What a study searches for, under its constraints.

    Attributes:
        best: decides which feasible trial is best.
        front: the goals of the front: retain Dice, forgetting's measure and, where asked for, seconds.
        title: of the axis of forgetting's measure.
        told: what the terminal says.
        multiple: the search goes for the whole front instead of the best trial.
    """

    best: Goal
    front: tuple[Goal, ...]
    title: str
    told: str
    multiple: bool = False

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What the search is told of."""
        return self.front if self.multiple else (self.best,)

    @property
    def forgetting(self) -> str:
        """The column that stands for forgetting on the front; smaller is better."""
        return self.front[1].column

    def score(self, row: Mapping[str, Any]) -> float:
        """The best goal's value to maximise; NaN where it is undefined or not there yet."""
        return self.best.score(row)


_GAP = Goal("dice_gap", 1)
_RETAIN, _FORGET = Goal("retain_dice", 1), Goal("forget_dice", -1)
_RETRAIN, _UNSEEN = Goal("retrain_gap", -1), Goal("unseen_gap", -1)
_DICE = "Forget Dice"

OBJECTIVES = {
    "gap": Objective(_GAP, (_RETAIN, _FORGET), _DICE, "maximise the Dice gap"),
    "retrain": Objective(
        _RETRAIN, (_RETAIN, _RETRAIN), "|forget - retrained forget Dice|", "minimise the retrain gap"
    ),
    "unseen": Objective(_UNSEEN, (_RETAIN, _UNSEEN), "|forget - held-out Dice|", "minimise the unseen gap"),
    "front": Objective(_GAP, (_RETAIN, _FORGET), _DICE, "maximise retain Dice and minimise forget Dice", True),
    "front_seconds": Objective(
        _GAP,
        (_RETAIN, _FORGET, Goal("seconds", -1)),
        _DICE,
        "maximise retain Dice, minimise forget Dice and seconds",
        True,
    ),
}
"""The objectives by the word on the command line; docs/metrics.md defines their columns."""

RUNNING, FINISHED, PRUNED, FAILED = "running", "finished", "pruned", "failed"
"""The statuses of a trial: at work or interrupted (a resume continues it), through its epochs, stopped early because
others were further, or out of retries."""

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

    def trial(self, checkpoint: str | None = None, one_by_one: bool = False) -> dict[str, Any]:
        """The config of the Tune trial, which continues from a state file if there is one.

        Args:
            checkpoint: URI of that file.
            one_by_one: its steps' scans go through the network one at a time.
        """
        return {
            "id": self.signature,
            "strategy": self.strategy,
            "knobs": dict(self.knobs),
            "seed": self.seed,
            "checkpoint": checkpoint,
            "one_by_one": one_by_one,
        }


def given(value: Any) -> bool:
    """Whether a cell of a table holds a value; pandas tells what is missing as None or NaN."""
    return value is not None and value == value


def digest_of(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of the value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader never sees half of it."""
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n"))


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary neighbour of `path`, then put it in place in one step."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
