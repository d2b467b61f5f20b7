"""A measure of forgetting: one number of a network, or one per forget subject, with what a reader must know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainables.data import TrialData
from trainables.evidence.scores import Scores
from trainables.fitting import Weights, network_of
from trainables.med3d import SegmentationNetwork

LEFT = "Is anything left of what was memorised?"
"""The question that most measures answer."""


@dataclass(frozen=True)
class Context:
    """What a network is measured with and compared to.

    Attributes:
        data: of the study; its forget set may be empty.
        scores: of the network: its forget, then its held-out subjects'.
        depth: of the network and of all the others.
        retrained: weights by name of the retrained references that the report compares with, the network's own aside.
        baseline: weights of the baseline, which may be the network itself.
        baseline_dice: its forget Dice.
        lr: learning rate at which it was fitted.
        seed: of whatever the measure draws.
    """

    data: TrialData
    scores: Scores
    depth: int
    retrained: Mapping[str, Weights]
    baseline: Weights
    baseline_dice: float
    lr: float
    seed: int

    def network(self, weights: Weights) -> SegmentationNetwork:
        """The network with these weights, on the process's device."""
        return network_of(weights, self.depth, self.data.classes)


Function = Callable[[SegmentationNetwork, Context], float | np.ndarray]
"""Of a network, which it may change, and the context: a number, or one for each forget, then each held-out subject.

The latter may be left out, but make the verdict sharper: whoever was never seen shows what has nothing to do with
memory. NaN where there is nothing to measure, infinity where there is no end.
"""


@dataclass(frozen=True)
class Measure:
    """What is measured of a network, under the name of its file or entry point.

    The column of that name holds the mean over the forget subjects, `<name>_retrained` what the retrained references
    give on average.

    Attributes:
        function: measures.
        title: of an axis or a table's column.
        question: of the erasure report, under which it stands.
        remembered: a network that remembers gives more, or less, than one that never saw the forget subjects.
        unit: `steps` for whole numbers that may be infinite; else nothing.
        scale: on which networks are compared: `log` where a difference says less the larger the values are.
        judged: part of the verdict.
    """

    function: Function
    title: str
    question: str
    remembered: Literal["more", "less"]
    unit: str = ""
    scale: Literal["plain", "log"] = "plain"
    judged: bool = True

    def __call__(self, network: SegmentationNetwork, context: Context) -> np.ndarray:
        """The number, shape (), or one per forget subject, (F,), or per forget and held-out subject, (F + H,).

        Raises:
            ValueError: the function gives something else.
        """
        values = np.asarray(self.function(network, context), float)
        forget, heldout = len(context.data.forget), len(context.data.heldout)
        if values.shape not in ((), (forget,), (forget + heldout,)):
            raise ValueError(
                f"a measure gives one number, or one for each of {forget} forget subjects, or of these and"
                f" {heldout} held-out ones, but got {values.shape=}"
            )
        return values
