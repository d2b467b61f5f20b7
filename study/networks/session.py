"""What all stages of a session need: the plan, what a task gets of the nodes, the terminal, and the references."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import ray

from study.cluster.nodes import Resources
from study.planning.plan import Plan
from study.terminal.live import StudyView
from trainables.evaluation import Values, means


@dataclass(frozen=True)
class Reference:
    """A fitted network.

    Attributes:
        digest: hash of everything that decided the weights.
        seed: of its fit.
        metrics: final `<set>_<metric>` values.
        subjects: the same for single subjects, in the sets' order.
        history: one row per epoch: epoch, loss, seconds and, where evaluated, metrics.
        weights: name -> array, parameters and buffers.
    """

    digest: str
    seed: int
    metrics: dict[str, float]
    subjects: Values
    history: list[dict[str, float]]
    weights: dict[str, np.ndarray]

    @cached_property
    def shared(self) -> ray.ObjectRef:
        """`weights` in the object store of the Ray that runs, as a plan's data."""
        return ray.put(self.weights)

    def with_values(self, values: Values) -> "Reference":
        """The same network with values of metrics beside those that it has."""
        *epochs, last = self.history
        metrics = {**means(values), **self.metrics}
        return replace(
            self, metrics=metrics, subjects={**values, **self.subjects}, history=[*epochs, {**last, **metrics}]
        )


@dataclass(frozen=True)
class Session:
    """A session of a study, with Ray at hand.

    Attributes:
        plan: the study.
        resources: trials at a time, and what each of them, of the fits and of the other tasks gets.
        view: the terminal.
        references: by name; none before they are fitted.
    """

    plan: Plan
    resources: Resources
    view: StudyView
    references: Mapping[str, Reference] = field(default_factory=dict)
