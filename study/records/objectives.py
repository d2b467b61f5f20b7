"""What a study searches for."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple


class Goal(NamedTuple):
    """A column of the trial table to make large (sign 1) or small (sign -1)."""

    column: str
    sign: int

    def score(self, results: Mapping[str, float | None]) -> float:
        """The value to maximise; NaN where the metric is undefined or not there yet."""
        value = results.get(self.column)
        return math.nan if value is None else self.sign * value


class Objective(NamedTuple):
    """What a study searches for, under its constraints.

    Attributes:
        best: decides which feasible trial is best.
        front: the goals of the front: retain Dice, forgetting's measure and, where asked for, seconds.
        title: of the axis of forgetting's measure.
        told: what the terminal says.
        multiple: the search goes for the whole front instead of the best trial.
        steered_by: what the search looks at and the evidence therefore does not report: the `retrained` reference,
            some of the `heldout` subjects, or nothing.
    """

    best: Goal
    front: tuple[Goal, ...]
    title: str
    told: str
    multiple: bool = False
    steered_by: Literal["", "retrained", "heldout"] = ""

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What the search is told of."""
        return self.front if self.multiple else (self.best,)

    @property
    def forgetting(self) -> str:
        """The column that stands for forgetting on the front; smaller is better."""
        return self.front[1].column

    def score(self, results: Mapping[str, float | None]) -> float:
        """The best goal's value to maximise; NaN where it is undefined or not there yet."""
        return self.best.score(results)


_GAP = Goal("dice_gap", 1)
_RETAIN, _FORGET = Goal("retain_dice", 1), Goal("forget_dice", -1)
_VIEWS = Goal("forget_dice_views", -1)
_RETRAIN, _UNSEEN = Goal("retrain_gap", -1), Goal("unseen_gap", -1)
_DICE = "Forget Dice"

OBJECTIVES = {
    "gap": Objective(_GAP, (_RETAIN, _FORGET), _DICE, "maximise the Dice gap"),
    "robust_gap": Objective(
        Goal("robust_gap", 1), (_RETAIN, _VIEWS), "Forget Dice under views", "maximise the Dice gap under views"
    ),
    "residual": Objective(
        Goal("residual_gap", 1),
        (_RETAIN, Goal("residual_distance", -1)),
        "|residual memory|",
        "maximise retain Dice - |residual memory|",
        steered_by="retrained",
    ),
    "retrain": Objective(
        _RETRAIN,
        (_RETAIN, _RETRAIN),
        "|forget - retrained forget Dice|",
        "minimise the retrain gap",
        steered_by="retrained",
    ),
    "unseen": Objective(
        _UNSEEN,
        (_RETAIN, _UNSEEN),
        "|forget - held-out Dice|",
        "minimise the unseen gap",
        steered_by="heldout",
    ),
    "front": Objective(_GAP, (_RETAIN, _FORGET), _DICE, "maximise retain Dice and minimise forget Dice", True),
    "front_seconds": Objective(
        _GAP,
        (_RETAIN, _FORGET, Goal("seconds", -1)),
        _DICE,
        "maximise retain Dice, minimise forget Dice and seconds",
        True,
    ),
}
"""The objectives by the word on the command line, a new one is one entry; docs/metrics.md defines their columns."""
