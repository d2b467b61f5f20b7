"""The verdict on a network: remembers, over-forgets, as never seen, or cannot tell; and why, in words."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from analysis.evidence.conclusion import Findings, Judged, Terms
from analysis.numbers import counted, metric, steps
from analysis.statistics.intervals import Interval
from analysis.statistics.residual import Compared, Memory, residual_memory
from study.records.evidence import EvidenceColumn

REMEMBERS, OVER_FORGETS, NEVER_SEEN, CANNOT_TELL = "remembers", "over-forgets", "as never seen", "cannot tell"

REQUIRED = ("dice", "loss", "dice_views", "loss_views")
"""Measures without which nothing is *as never seen*, beside one of those that ask whether the subjects return."""

RETURN = ("resurfaced_dice", "relearn_steps")

_MOST_REFERENCES, _SHOWN = 50, 2
_QUESTION = "Is anything left of what was memorised?"

COLUMNS = {
    "verdict": EvidenceColumn("str", "", _QUESTION, NEVER_SEEN),
    "reasons": EvidenceColumn("str", "", _QUESTION),
    "memory_left": EvidenceColumn("float", "Memory left, at most", _QUESTION, "0, as far as references tell"),
    "memory_of_one": EvidenceColumn("float", "Memory of one person, to +-", _QUESTION),
    "would_tell": EvidenceColumn("str", "", _QUESTION),
}
"""What `judge` fills."""


class _Reason(NamedTuple):
    """A measure's residual that decides, of the group or of one subject."""

    measure: str
    place: int | None
    residual: Interval


def memories_of(findings: Findings, terms: Terms) -> dict[str, Memory]:
    """The residual memory by every judged measure that all networks have, of the same subjects."""
    compared = {}
    for name, judged in terms.measures.items():
        networks = [findings.network, *findings.retrained.values(), *findings.seen.values()]
        values = [network.measures.get(name) for network in networks]
        shapes = {None if one is None else one.shape for one in values}
        if judged.judged and findings.seen and len(shapes) == 1 and None not in shapes:
            own, *others = _on_scale([one for one in values if one is not None], judged)
            never, seen = np.array(others[: len(findings.retrained)]), np.array(others[len(findings.retrained) :])
            compared[name] = Compared(own, never, seen, _resolution(never, judged))
    return residual_memory(compared, len(terms.subjects))


def judge(memories: Mapping[str, Memory], findings: Findings, terms: Terms) -> dict[str, Any]:
    """The columns of `COLUMNS`; none without a forget subject."""
    if not terms.subjects:
        return {}
    by_verdict = {REMEMBERS: _beyond(memories, terms.margin, 1), OVER_FORGETS: _beyond(memories, terms.margin, -1)}
    verdict = next((name for name, reasons in by_verdict.items() if reasons), "")
    missing = _missing(memories, terms)
    if verdict:
        first, *others = (reason for reasons in by_verdict.values() for reason in reasons)
        some = 0 < len({reason.place for reason in by_verdict[verdict]} - {None}) < len(terms.subjects)
        # Who stands out among the others is named; else another measure says more than the same one again.
        others.sort(key=lambda reason: (some and reason.place is None, reason.measure == first.measure))
        said = [_said(reason, findings, terms) for reason in [first, *others[: _SHOWN - 1]]]
    elif missing:
        verdict, said = CANNOT_TELL, missing[:_SHOWN]
    else:
        verdict = NEVER_SEEN
        widest = sorted(memories, key=lambda name: -memories[name].half_width(memories[name].references))
        said = [_said(_Reason(name, None, memories[name].clear), findings, terms) for name in widest[:_SHOWN]]
    return {"verdict": verdict, "reasons": "; ".join(said), **_bounds(memories, terms)}


def forget_mean(values: np.ndarray, forget: int) -> float:
    """A measure's mean over the forget subjects."""
    return mean_of(values if values.ndim == 0 else values[:forget])


def mean_of(values: np.ndarray) -> float:
    """Mean of what is defined, infinite if one of them is; NaN if nothing is."""
    defined = [value for value in values.flat if not math.isnan(value)]
    return fmean(defined) if defined else math.nan


def _on_scale(values: Sequence[np.ndarray], judged: Judged) -> list[np.ndarray]:
    """The values on the scale on which networks are compared, larger for memory; without an end twice the largest."""
    table = np.array([np.atleast_1d(value) for value in values], float)
    if judged.unit == "steps":
        finite = table[np.isfinite(table)]
        table = np.where(np.isposinf(table), 2 * max(finite.max(initial=0), 1), table) + 1
    if judged.scale == "log":
        table = np.log(np.maximum(table, np.finfo(float).tiny))
    return list(-table if judged.remembered == "less" else table)


def _resolution(never: np.ndarray, judged: Judged) -> float:
    """What rounding to whole steps does to a value on the scale of `_on_scale`, as a standard deviation."""
    if judged.unit != "steps" or not never.size:
        return 0.0
    step = 12**-0.5
    return float(step * np.exp(-np.abs(never).mean())) if judged.scale == "log" else step


def _beyond(memories: Mapping[str, Memory], margin: float, side: int) -> list[_Reason]:
    """What lies beyond never seen on one side: groups that reach beyond the margin, then single subjects."""
    groups, singles = [], []
    for name, memory in memories.items():
        if memory.blind and side > 0:
            continue  # where the baseline shows no memory nobody else can
        if memory.sides[0] == side and side * _end(memory.group, side) > margin:
            groups.append(_Reason(name, None, memory.group))
        singles += [
            _Reason(name, place, residual)
            for place, residual in enumerate(memory.subjects)
            if memory.sides[1 + place] == side and (side < 0 or np.isfinite(residual.low))
        ]
    return [*_strongest(groups, side), *_strongest(singles, side)]


def _end(residual: Interval, side: int) -> float:
    return residual.high if side > 0 else residual.low


def _strongest(reasons: Sequence[_Reason], side: int) -> list[_Reason]:
    return sorted(reasons, key=lambda reason: -side * _end(reason.residual, -side))


def _missing(memories: Mapping[str, Memory], terms: Terms) -> list[str]:
    """What stands between this network and *as never seen*."""

    def problem(name: str) -> str:
        memory, title = memories.get(name), _title(name, terms)
        if memory is None:
            return f"{title} has fewer than two never-seen networks to compare with"
        if memory.blind:
            return f"{title} is blind: networks that saw them cannot be told from those that did not"
        if max(-memory.clear.low, memory.clear.high) > terms.margin:
            return f"{title}: residual memory {_shown(memory.clear)} leaves +-{terms.margin:g}"
        return ""

    required = [problem(name) for name in REQUIRED]
    returned = [problem(name) for name in RETURN]
    return [text for text in [*required, *(returned if all(returned) else [])] if text]


def _said(reason: _Reason, findings: Findings, terms: Terms) -> str:
    """A reason in words: the value, what never-seen networks and the baseline give, and the residual memory."""
    name, unit = reason.measure, terms.measures[reason.measure].unit

    def value(measures: Mapping[str, np.ndarray]) -> float:
        values = measures[name]
        alone = reason.place is None or values.ndim == 0
        return forget_mean(values, len(terms.subjects)) if alone else float(values[reason.place])

    def text(number: float) -> str:
        return steps(number) if unit == "steps" else metric(number)

    never = [value(other.measures) for other in findings.retrained.values()]
    (seen,) = {value(other.measures) for other in findings.seen.values()}
    whose = "" if reason.place is None else f" of {terms.subjects[reason.place]}"
    return (
        f"{_title(name, terms)}{whose} {text(value(findings.network.measures))} (never seen {text(min(never))} to"
        f" {text(max(never))}, baseline {text(seen)}): residual memory {_shown(reason.residual)}"
    )


def _shown(residual: Interval) -> str:
    if not np.isfinite(residual.low):
        return "unbounded, as the baseline shows none"
    return f"{residual.mean:+.2f} [{residual.low:+.2f}, {residual.high:+.2f}]"


def _title(name: str, terms: Terms) -> str:
    return terms.measures[name].title if name in terms.measures else name


def _bounds(memories: Mapping[str, Memory], terms: Terms) -> dict[str, Any]:
    """How much is left at most, how well one person can be told, and what would tell more."""
    required = [memories[name] for name in REQUIRED if name in memories]
    told = [memory for memory in required if not memory.blind]
    if not told:
        return {"memory_left": np.nan, "memory_of_one": np.nan, "would_tell": _would_tell(required, terms)}
    halves = np.array([[(one.high - one.low) / 2 for one in memory.subjects] for memory in told])
    one = np.where(np.isnan(halves), np.inf, halves).min(0).max()  # a measure without a value tells nothing
    left = max(0.0, *(memory.clear.high for memory in told))
    return {
        "memory_left": left,
        "memory_of_one": float(one) if np.isfinite(one) else np.nan,
        "would_tell": _would_tell(required, terms),
    }


def _would_tell(memories: Sequence[Memory], terms: Terms) -> str:
    """How many more references would bring every interval inside the margin, around a residual of 0."""
    now = memories[0].references if memories else 0
    enough = next(_enough(memories, terms.margin), None)
    if not memories:
        return "at least two references that judge: --references 4"
    if enough is None:
        return "no number of references alone: forget and hold out more subjects"
    more = max(0, enough - now)
    return f"{counted(more, 'more reference')}: --references {terms.references + more}" if more else ""


def _enough(memories: Sequence[Memory], margin: float) -> Iterator[int]:
    for count in range(2, _MOST_REFERENCES):
        if all(memory.half_width(count) <= margin for memory in memories):
            yield count
