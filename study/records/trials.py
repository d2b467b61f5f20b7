"""A trial: its configuration, its id and its statuses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from study.records.files import digest_of

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
