"""For each forget subject the place of its scores among networks that never saw it, and among those that did."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from analysis.evidence.conclusion import Examined, Findings
from analysis.statistics.membership import confidence_logit
from analysis.statistics.places import Place, places


class Placed(NamedTuple):
    """A score whose places are taken.

    Attributes:
        title: in words.
        score: of `Scores`.
        evidence: from the score to what an attack compares, larger for memory.
        back: from that to the score.
    """

    title: str
    score: str
    evidence: Callable[[np.ndarray], np.ndarray]
    back: Callable[[np.ndarray], np.ndarray]


PLACED = {
    "dice": Placed("Dice", "dice", lambda dice: dice, lambda dice: dice),
    "loss": Placed(
        "Loss", "cross_entropy", lambda loss: -np.log(np.maximum(loss, 1e-12)), lambda value: np.exp(-value)
    ),
    "confidence": Placed("Confidence, shadows unlearned too", "confidence", confidence_logit, expit),
}
"""The scores of the threshold attacks, and of U-LiRA."""


def places_of(findings: Findings) -> dict[str, list[Place]]:
    """Each forget subject's place by every score; nothing without another network.

    Of Dice and loss among the retrained references and the shadows that did not have it, and among the baseline and
    those that had it, all as they were fitted; of the confidence among the shadows after they have unlearned. The
    baseline has no place beside itself.
    """
    network, shadows, own = findings.network, findings.shadows, _of(findings.network, "cross_entropy")
    seen = [other for other in findings.seen.values() if not np.array_equal(_of(other, "cross_entropy"), own)]
    others = [*findings.retrained.values(), *seen]
    forget, heldout = len(network.forget["dice"]), len(network.heldout["dice"])
    had = np.zeros((len(others), forget + heldout), bool)
    had[len(findings.retrained) :, :forget] = True
    tables = {name: [_of(other, PLACED[name].score) for other in others] for name in ("dice", "loss")}
    if shadows is not None:
        tables = {name: [*rows, *shadows.fitted[PLACED[name].score].T] for name, rows in tables.items()}
        had = np.vstack([had, shadows.had.T])
        tables["confidence"] = [*shadows.unlearned.T]
    return {
        name: _placed(PLACED[name], network, np.array(rows), had[-len(rows) :])
        for name, rows in tables.items()
        if rows
    }


def _of(network: Examined, score: str) -> np.ndarray:
    return np.concatenate([network.forget[score], network.heldout[score]])


def _placed(placed: Placed, network: Examined, others: np.ndarray, had: np.ndarray) -> list[Place]:
    """Places by what an attack compares, whose numbers are then those of the score again."""

    def back(ends: tuple[float, float]) -> tuple[float, float]:
        low, high = sorted(placed.back(np.array(ends)).tolist())
        return low, high

    values = network.forget[placed.score].tolist()
    found = places(placed.evidence(_of(network, placed.score)), placed.evidence(others), had, len(values))
    return [
        place._replace(value=value, never_seen=back(place.never_seen), seen=back(place.seen))
        for value, place in zip(values, found, strict=True)
    ]
