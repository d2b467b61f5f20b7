"""Where each forget subject's scores lie among networks that never saw it and among those that did, as a table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis import numbers
from analysis.evidence.places import PLACED

NOTE = (
    "Each person beside themselves: the ranges are of other networks at this one's level, and the places say how many"
    " of them speak less for memory. Of a network that never saw the person every place among never-seen ones is"
    " equally likely; one that remembers lies above them all. The ratio says how much likelier the score is of a"
    " network that saw the person."
)


def place_rows(details: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each forget subject and score of what `evidence_details` gives of a network; none of nothing."""
    return [
        {
            "subject": subject,
            "score": PLACED[score].title,
            "value": numbers.metric(place["value"]),
            "never seen": _range(place["never_seen"]),
            "seen": _range(place["seen"]),
            "above never seen": _place(place["above_never_seen"]),
            "above seen": _place(place["above_seen"]),
            "likelihood ratio": _ratio(place["likelihood_ratio"]),
        }
        for subject, scores in details.get("places", {}).items()
        for score, place in scores.items()
    ]


def _range(ends: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(map(numbers.metric, ends)))  # one network has no range


def _place(place: tuple[float, int]) -> str:
    above, count = place
    return f"{above:g} of {count}" if math.isfinite(above) else numbers.MISSING


def _ratio(ratio: float) -> str:
    return f"{ratio:.2g}" if math.isfinite(ratio) else numbers.MISSING
