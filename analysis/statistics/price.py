"""What a trial costs beside retraining, which forgets exactly."""

from typing import NamedTuple

from analysis.numbers import counted
from study.records.reading import StudyData
from study.records.references import RETRAINED
from study.records.rows import TrialRow

AS_GOOD = 0.01
"""Dice within which retraining counts as good as a trial."""


class Price(NamedTuple):
    """A trial's seconds beside those of retraining from fresh weights until retain and held-out Dice are as good.

    Attributes:
        seconds: of the trial.
        retraining: seconds of the steering retrained reference until then, or in all if it never was.
        epochs: its epochs until then; None if it never was. It is looked at every few epochs only.
    """

    seconds: float
    retraining: float
    epochs: int | None

    @property
    def share(self) -> float:
        """The trial's seconds as a share of retraining's."""
        return self.seconds / self.retraining if self.retraining else float("inf")

    def __str__(self) -> str:
        if self.epochs is None:
            return f"Retraining was not as good in its {self.retraining:.0f} s; this took {self.seconds:.0f} s."
        epochs = counted(self.epochs, "epoch")
        if self.share >= 1:
            return f"Retrain: as good in {epochs} ({self.retraining:.0f} s against {self.seconds:.0f} s), and exact."
        return f"Costs {self.share:.2f} of retraining to the same Dice ({epochs}, {self.retraining:.0f} s)."


def price(study: StudyData, row: TrialRow) -> Price | None:
    """The price of a trial."""
    return price_of(study, row.seconds, row.metric("retain_dice"), row.metric("heldout_dice"))


def price_of(study: StudyData, seconds: float, retain_dice: float, heldout_dice: float) -> Price | None:
    """The price of such Dice for so many seconds; None where the history holds no retrained reference.

    Seconds are those of the machines that the fit and the trial ran on.
    """
    fit = study.history[study.history["id"] == RETRAINED].sort_values("epoch")
    if fit.empty:
        return None
    spent = fit["seconds"].cumsum()
    good = fit["retain_dice"] >= retain_dice - AS_GOOD
    if study.split.heldout:
        good &= fit["heldout_dice"] >= heldout_dice - AS_GOOD
    if not good.any():
        return Price(seconds, float(spent.iloc[-1]), None)
    first = good.idxmax()
    return Price(seconds, float(spent[first]), int(fit["epoch"][first]))
