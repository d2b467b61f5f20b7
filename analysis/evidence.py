"""What the measurements of a network say about forgetting, as the evidence columns of the records."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.statistics import membership
from analysis.statistics.significance import LEVEL, equivalence, lower, prediction_interval

Scores = Mapping[str, np.ndarray]
"""Of N subjects: `dice` (N,), `class_dice` (N, C - 1), `cross_entropy` (N,), `confidence` (N,), `features` (N, E)."""


class Examined(NamedTuple):
    """What was measured of one network.

    Attributes:
        forget: scores of the forget subjects.
        heldout: scores of the held-out subjects that the report may see.
        relearn_steps: steps until the forget Dice was back; infinite if it did not come back in time.
        resurfaced_dice: forget Dice after training on the retain subjects alone.
        distances: retrained reference -> activation distance to it on the forget subjects.
    """

    forget: Scores
    heldout: Scores
    relearn_steps: float
    resurfaced_dice: float
    distances: Mapping[str, float]


class Shadows(NamedTuple):
    """What shadow networks give for the forget and then the held-out subjects; NaN where one is not of that world.

    Attributes:
        inside: (N, S) scores' `confidence` of networks that had a subject and, for a trial, unlearned it.
        outside: (N, S) of networks that never had it and, for a trial, unlearned others.
        likelihood: (N, S) exp(-cross-entropy) of all of them, before unlearning.
    """

    inside: np.ndarray
    outside: np.ndarray
    likelihood: np.ndarray


def conclude(
    examined: Examined,
    retrained: Mapping[str, Examined],
    shadows: Shadows | None = None,
    draws: Sequence[np.ndarray] = (),
) -> dict[str, Any]:
    """The evidence columns of a network (docs/evidence.md defines them).

    Args:
        examined: the network.
        retrained: the references to compare with; the network itself must not be among them.
        shadows: for the attacks that need them.
        draws: (N, M) comparisons of the loss attack for each further draw of forget subjects.
    """
    forget, heldout = examined.forget, examined.heldout
    of_references = np.array([_defined_mean(other.forget["dice"]) for other in retrained.values()])
    low, high = prediction_interval(of_references)
    mean = _defined_mean(forget["dice"])
    found: dict[str, Any] = {"retrained_low": low, "retrained_high": high}
    known = bool(np.isfinite(low) and np.isfinite(mean))
    found |= {"remembers": mean > high if known else None, "over_forgets": mean < low if known else None}
    found |= _retrain_gaps(examined, retrained)
    found |= _auc("loss", membership.comparisons(-forget["cross_entropy"], -heldout["cross_entropy"]))
    found |= _auc("dice", membership.comparisons(forget["dice"], heldout["dice"]))
    found |= _shadow_attacks(examined, shadows)
    if draws:
        found |= _bounds("pooled_auc", membership.pooled_auc(list(draws)))
    found |= _auc("probe", membership.probe(forget["features"], heldout["features"]))
    found |= {
        "relearn_steps": examined.relearn_steps,
        "relearn_steps_retrained": _mean([other.relearn_steps for other in retrained.values()]),
        "resurfaced_dice": examined.resurfaced_dice,
        "resurfaced_dice_retrained": _mean([other.resurfaced_dice for other in retrained.values()]),
        "activation_distance": _mean(list(examined.distances.values())),
        "activation_distance_retrained": _mean(
            [distance for other in retrained.values() for distance in other.distances.values()]
        ),
    }
    dice = [values["dice"][np.isfinite(values["dice"])] for values in (forget, heldout)]
    p = lower(*dice) if all(map(len, dice)) else np.nan
    return found | {"streisand_p": p, "streisand": bool(p < LEVEL)}


def warnings(forget: int, heldout: int, references: int, draws: int) -> list[str]:
    """What makes the evidence of these numbers of subjects and references weak, one sentence each."""
    found = []
    if min(forget, heldout) < membership.FEW:
        found.append(
            f"Membership attacks compare {forget} forget with {heldout} held-out subjects: an AUC says little"
            + ("." if draws else "; --forget-draws K pools over random forget sets.")
        )
    if references < 2:
        found.append(f"{references} retrained reference for the report: no prediction interval; give --references 3.")
    elif references < 5:
        found.append(f"{references} retrained references for the report: their prediction interval is wide.")
    return found


def _retrain_gaps(examined: Examined, retrained: Mapping[str, Examined]) -> dict[str, float]:
    """How far single subjects and classes are from the retrained references' means."""
    if not retrained:
        return {"subject_gap": np.nan, "class_gap": np.nan, "equivalence_p": np.nan}
    dice = examined.forget["dice"] - np.mean([other.forget["dice"] for other in retrained.values()], axis=0)
    by_class = examined.forget["class_dice"] - np.mean([o.forget["class_dice"] for o in retrained.values()], axis=0)
    dice = dice[np.isfinite(dice)]
    classes = [abs(np.mean(column[np.isfinite(column)])) for column in by_class.T if np.isfinite(column).any()]
    return {
        "subject_gap": float(np.max(np.abs(dice), initial=0.0)) if len(dice) else np.nan,
        "class_gap": float(max(classes, default=np.nan)),
        "equivalence_p": equivalence(dice),
    }


def _shadow_attacks(examined: Examined, shadows: Shadows | None) -> dict[str, float]:
    if shadows is None:
        return {}
    members = len(examined.forget["dice"])
    both = [
        np.concatenate([examined.forget[name], examined.heldout[name]]) for name in ("confidence", "cross_entropy")
    ]
    logit = membership.confidence_logit
    ratios = membership.likelihood_ratio(logit(both[0]), logit(shadows.inside), logit(shadows.outside))
    population = np.arange(members, len(both[1]))
    shares = membership.relative_membership(np.exp(-both[1]), shadows.likelihood, population)
    return {
        **_auc("lira", membership.comparisons(ratios[:members], ratios[members:])),
        **_auc("rmia", membership.comparisons(shares[:members], shares[members:])),
    }


def _auc(name: str, compared: np.ndarray) -> dict[str, float]:
    return _bounds(f"{name}_auc", membership.auc(compared))


def _bounds(name: str, found: tuple[float, float, float]) -> dict[str, float]:
    return {f"{name}{end}": value for end, value in zip(("", "_low", "_high"), found, strict=True)}


def _defined_mean(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else np.nan


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else np.nan
