"""What the figure of a front shows, as plain data: trials by kind, landmarks, the retain floor and the window."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import accumulate
from typing import Any, NamedTuple

from analysis import numbers
from study.records.metrics import added
from study.records.reading import StudyData
from study.records.references import BASELINE, RETRAINED
from study.records.trials import FAILED, FINISHED, given

FRONT, FEASIBLE, INFEASIBLE, DIVERGED = "on the front", "other feasible", "infeasible", "diverged"
"""The kinds of a finished trial; one that is still running or was pruned is of the kind that its status says."""

_LEAST_SPAN = 0.1
_HOVER = {"dice_gap": "gap", "retain_dice": "retain Dice", "forget_dice": "forget Dice"}
_HOVER |= {"heldout_dice": "held-out Dice", "retention": "retention", "mae_gap": "MAE gap"}


def axes(study: StudyData) -> dict[str, str]:
    """What a figure can have on its axes, of the evidence only what some trial has: column -> title."""
    titled = {name: column.title for name, column in study.evidence_columns.items() if column.title}
    evidence = {name: title for name, title in titled.items() if study.trials[name].notna().any()}
    return {**{column: metric.label for column, metric in study.metrics.items()}, **evidence, "seconds": "Seconds"}


class Dot(NamedTuple):
    """A trial that has a value on both axes.

    Attributes:
        number: of the trial in the study, from 1, in the order in which they began.
        value: of what the search is for.
        colour: value of the column that colours the figure.
    """

    number: int
    id: str
    kind: str
    x: float
    y: float
    value: float
    colour: Any
    hover: str


class Landmark(NamedTuple):
    """A point to compare with: a reference of the study, or a published result with its source."""

    name: str
    source: str
    x: float
    y: float
    hover: str


class FrontData(NamedTuple):
    """Everything that the figure draws.

    Attributes:
        dots: the trials, without the failed ones.
        missing: status -> number of trials that are not among the dots.
        best: the best feasible dot.
        landmarks: baseline, retrained and published, as far as they are known.
        floor: least feasible retain Dice; NaN without a baseline.
        window: lowest and highest y to show where y is the retain Dice.
    """

    dots: tuple[Dot, ...]
    missing: dict[str, int]
    best: Dot | None
    landmarks: tuple[Landmark, ...]
    floor: float
    window: tuple[float, float]


def front_data(study: StudyData, x: str, y: str, colour: str) -> FrontData:
    """Gather what the figure of a study shows; arguments as of `trial_dots`."""
    dots = trial_dots(study, x, y, colour)
    seen = {dot.number for dot in dots}
    hidden = [status for number, status in enumerate(study.trials["status"], 1) if number not in seen]
    best = study.best
    floor = study.settings.retain_floor * study.reference(BASELINE).get("retain_dice", math.nan)
    landmarks = _landmarks(study, x, y)
    return FrontData(
        dots=dots,
        missing={status: hidden.count(status) for status in dict.fromkeys(hidden)},
        best=next((dot for dot in dots if best is not None and dot.id == best.id), None),
        landmarks=landmarks,
        floor=floor,
        window=_window(dots, landmarks, floor),
    )


def trial_dots(study: StudyData, x: str, y: str, colour: str = "kind") -> tuple[Dot, ...]:
    """The trials that have not failed and have a finite value on both axes.

    Args:
        study: the study's tables.
        x: column of the trial table.
        y: another.
        colour: the column that colours the trials, or "kind".
    """
    trials = study.trials
    kinds = trials["status"].where(trials["status"] != FINISHED, INFEASIBLE)
    for mark, kind in (("feasible", FEASIBLE), ("on_front", FRONT), ("diverged", DIVERGED)):
        kinds = kinds.where((trials["status"] != FINISHED) | ~trials[mark], kind)
    columns = (trials[name].tolist() for name in (x, y, study.objective.best.column))
    colours = (kinds if colour == "kind" else trials[colour]).tolist()
    numbered = zip(trials["id"], kinds, *columns, colours, _hovers(study, kinds), strict=True)
    return tuple(
        Dot(number, *row) for number, row in enumerate(numbered, 1) if row[1] != FAILED and _finite(row[2], row[3])
    )


def best_so_far(dots: tuple[Dot, ...], sign: int) -> tuple[list[int], list[float]]:
    """Trial numbers at which the best feasible value (sign -1: smallest) got better, and that value."""
    feasible = [dot for dot in dots if dot.kind in (FRONT, FEASIBLE) and math.isfinite(dot.value)]
    best = [-math.inf, *accumulate((sign * dot.value for dot in feasible), max)]
    rises = [dot for dot, before in zip(feasible, best, strict=False) if sign * dot.value > before]
    return [dot.number for dot in rises], [dot.value for dot in rises]


def _hovers(study: StudyData, kinds: Iterable[str]) -> list[str]:
    """What each trial's label says: its metrics, and the knobs that it has."""
    trials = study.trials
    names = enumerate(zip(trials["id"], trials["strategy"], kinds, strict=True), 1)
    lines = [[f"<b>trial {number}: {id}</b>, {strategy}, {kind}" for number, (id, strategy, kind) in names]]
    for column, title in (_HOVER | {column: study.metrics[column].title for column in added(study.metrics)}).items():
        lines.append([f"{title} {numbers.metric(value)}" for value in trials[column].tolist()])
    for name in study.knobs:
        words = (numbers.knob(value) if given(value) else "" for value in trials[name].tolist())
        lines.append([word and f"{name.replace('_', ' ')} {word}" for word in words])
    return ["<br>".join(filter(None, parts)) for parts in zip(*lines, strict=True)]


def _landmarks(study: StudyData, x: str, y: str) -> tuple[Landmark, ...]:
    """The references and the published result, where they have a value on both axes."""
    titles, landmarks = axes(study), []
    retrained = study.reference(RETRAINED).get("forget_dice", math.nan)
    points: dict[str, Mapping[str, Any]] = {name: known.metrics for name, known in study.references.items()}
    points["published"] = asdict(study.published) if study.published else {}
    for name, point in points.items():
        forget, source = point.get("forget_dice", math.nan), point.get("source", "")
        if name != "published":
            unseen = abs(forget - point.get("heldout_dice", math.nan))
            point = {**point, "retrain_gap": abs(forget - retrained), "unseen_gap": unseen}
        if _finite(point.get(x), point.get(y)):
            lines = [f"<b>{name}</b>", source, *(f"{titles[axis]} {numbers.metric(point[axis])}" for axis in (x, y))]
            landmarks.append(Landmark(name, source, point[x], point[y], "<br>".join(filter(None, lines))))
    return tuple(landmarks)


def _window(dots: tuple[Dot, ...], landmarks: tuple[Landmark, ...], floor: float) -> tuple[float, float]:
    """Frames the feasible trials (without any, all), the landmarks and the floor, with room below.

    Collapsed trials may lie below it: so they do not squeeze the others.
    """
    feasible = [dot.y for dot in dots if dot.kind in (FRONT, FEASIBLE)]
    framed = [*(feasible or [dot.y for dot in dots]), *(landmark.y for landmark in landmarks)]
    framed += [floor] if math.isfinite(floor) else []
    low, high = min(framed, default=0.0), max([*framed, *(dot.y for dot in dots)], default=1.0)
    span = max(high - low, _LEAST_SPAN)
    return max(low - 0.4 * span, -0.03), min(high + 0.12 * span, 1.02)


def _finite(*values: float | None) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)
