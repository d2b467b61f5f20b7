"""A measure of forgetting: one number of a network, or one per forget subject, with what a reader must know of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainables.data import TrialData
from trainables.fitting import Weights, network_of
from trainables.med3d import SegmentationNetwork


@dataclass(frozen=True)
class Context:
    """What a network is measured with and compared to.

    Attributes:
        data: of the study; its forget set may be empty.
        depth: of the network and of all the others.
        retrained: weights by name of the retrained references that the report compares with, the network's own aside.
        baseline_dice: forget Dice of the baseline.
        lr: learning rate at which the baseline was fitted.
        seed: of whatever the measure draws.
    """

    data: TrialData
    depth: int
    retrained: Mapping[str, Weights]
    baseline_dice: float
    lr: float
    seed: int

    def network(self, weights: Weights) -> SegmentationNetwork:
        """The network with these weights, on the process's device."""
        return network_of(weights, self.depth, self.data.classes)


Function = Callable[[SegmentationNetwork, Context], float | np.ndarray]
"""Of a network, which it may change, and the context: one number, or (N,) one for each forget subject in turn.

NaN where there is nothing to measure, infinity where there is no end.
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
    """

    function: Function
    title: str
    question: str
    remembered: Literal["more", "less"]
    unit: str = ""

    def __call__(self, network: SegmentationNetwork, context: Context) -> np.ndarray:
        """The number, shape (), or one per forget subject, (N,).

        Raises:
            ValueError: the function gives something else.
        """
        values = np.asarray(self.function(network, context), float)
        if values.shape not in ((), (len(context.data.forget),)):
            subjects = len(context.data.forget)
            raise ValueError(f"a measure gives one number, or one for each of {subjects=}, but got {values.shape=}")
        return values
