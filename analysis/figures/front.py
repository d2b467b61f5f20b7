"""The figures of a search, for the server's pages, pareto.html and the report: its front, and its history.

The front shows every trial in a plane of two metrics, with the landmarks and the retain floor.
"""

import math
from collections.abc import Sequence
from html import escape
from itertools import cycle
from typing import Any

import plotly.graph_objects as go

from analysis import numbers
from analysis.figures.front_data import (
    DIVERGED,
    FEASIBLE,
    FRONT,
    INFEASIBLE,
    Dot,
    FrontData,
    Landmark,
    axes,
    best_so_far,
    front_data,
    trial_dots,
)
from analysis.figures.style import BLUE, CYCLE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, blank
from study.records.metrics import label
from study.records.reading import StudyData
from study.records.references import RETRAINED
from study.records.trials import PRUNED, RUNNING, given

KIND, RETAIN = "kind", "retain_dice"

MARKERS = {
    PRUNED: {"symbol": "triangle-down-open", "color": GREY, "size": 7, "opacity": 0.4},
    INFEASIBLE: {"symbol": "circle-open", "color": GREY, "size": 8, "opacity": 0.6},
    DIVERGED: {"symbol": "x-thin-open", "color": VERMILLION, "size": 9, "opacity": 0.7},
    RUNNING: {"symbol": "diamond-open", "color": ORANGE, "size": 9, "opacity": 0.8},
    FEASIBLE: {"symbol": "circle", "color": SKY, "size": 9, "opacity": 0.9},
    FRONT: {"symbol": "circle", "color": BLUE, "size": 11},
}
"""How trials look by kind, from the bottom to the top."""

_LANDMARKS = {
    "baseline": {"symbol": "square", "color": GREY, "size": 12},
    "retrained": {"symbol": "diamond", "color": GREEN, "size": 14},
    "published": {"symbol": "star", "color": PURPLE, "size": 16},
}
_BEST = {"symbol": "circle-open", "color": ORANGE, "size": 20, "line": {"width": 3}}
_BELOW = {"symbol": "triangle-down", "color": GREY, "size": 10}
_EVERY_TICK = 20
"""Trials up to which the history has a tick for each."""


def front_figure(
    study: StudyData, x: str = "", y: str = "", colour: str = KIND, beside: Sequence[StudyData] = ()
) -> go.Figure:
    """Every trial that has a value on both axes. `customdata` of a trial is its place in the trial table.

    Args:
        study: whose trials they are.
        x: column across, of `axes`; by default what stands for forgetting.
        y: column up; by default the retain Dice.
        colour: `KIND`, or a column of the trial table that colours the trials.
        beside: studies whose fronts are laid over it as lines.
    """
    x, y = x or study.objective.forgetting, y or RETAIN
    data = front_data(study, x, y, colour)
    figure = blank(_title(study, data, beside))
    _draw_axes(figure, study, data, x, y)
    _draw_lines(figure, study, data, x, y)
    if _is_front(study, x, y):
        _add_below(figure, data)
        _add_staircase(figure, data.dots, BLUE)
        for other, line_colour in zip(beside, cycle(CYCLE[1:]), strict=False):
            _add_staircase(figure, trial_dots(other, x, y), line_colour, f"front of {escape(other.name)}")
    for name, marker, dots in _groups(data.dots, colour):
        _add_points(figure, f"{name} ({len(dots)})", dots, marker, customdata=[dot.number - 1 for dot in dots])
    for landmark in data.landmarks:
        _add_points(figure, landmark.name, [landmark], _LANDMARKS[landmark.name.partition("-")[0]])
    if data.best is not None:
        goal, signed = study.objective.best.column, study.objective.best.sign > 0
        name = f"best: {label(study.metrics, goal).lower()} {numbers.metric(data.best.value, signed)}"
        _add_points(figure, name, [data.best], _BEST)
        figure.data[-1].update(hoverinfo="skip")  # the pointer reaches the trial under the ring
    figure.update_layout(legend_traceorder="reversed")
    return figure


def history_figure(study: StudyData) -> go.Figure:
    """What is searched for, of every finished trial in the order in which they began, and the best so far."""
    trials = trial_dots(study, study.objective.forgetting, RETAIN)
    figure = blank("<b>Search history</b>")
    count = max(len(study.trials), 1)
    figure.update_layout(margin_t=50, legend_traceorder="reversed")
    figure.update_xaxes(title="Trial", range=[0.5, count + 0.5], dtick=1 if count <= _EVERY_TICK else None)
    figure.update_yaxes(title=label(study.metrics, study.objective.best.column))
    for kind in (INFEASIBLE, DIVERGED, FEASIBLE, FRONT):
        dots = [dot._replace(x=dot.number, y=dot.value) for dot in trials if dot.kind == kind]
        _add_points(figure, kind, dots, MARKERS[kind])
    rises, values = best_so_far(trials, study.objective.best.sign)
    figure.add_scatter(
        x=[*rises, count] if rises else [],
        y=[*values, values[-1]] if rises else [],
        mode="lines",
        line={"shape": "hv", "color": ORANGE, "width": 2},
        name="best feasible so far",
        hoverinfo="skip",
    )
    return figure


def _is_front(study: StudyData, x: str, y: str) -> bool:
    """Whether the plane is that of the study's front."""
    return x == study.objective.forgetting and y == RETAIN


def _title(study: StudyData, data: FrontData, beside: Sequence[StudyData]) -> str:
    missing = "".join(f", {count} {status}" for status, count in data.missing.items())
    sources = "".join(f"; {point.name}: {escape(point.source)}" for point in data.landmarks if point.source)
    names = " and ".join(f"<b>{escape(shown.name)}</b>" for shown in (study, *beside))
    return f"{names}<br><sup>{len(data.dots)} trials with a result{missing}{sources}</sup>"


def _draw_axes(figure: go.Figure, study: StudyData, data: FrontData, x: str, y: str) -> None:
    titles = axes(study)
    figure.update_xaxes(title=titles[x])
    figure.update_yaxes(title=titles[y])
    if x == study.objective.forgetting:
        hint = "more is forgotten" if x == "forget_dice" else "less distinguishable"
        figure.update_xaxes(title=f"{study.objective.title}  (lower = {hint})")
        if (study.metrics[x].low, study.metrics[x].high) == (0, 1):
            figure.update_xaxes(range=[-0.03, 1.02], dtick=0.1)
    if y == RETAIN:
        figure.update_yaxes(title="Retain Dice  (higher = more is kept)", range=data.window)


def _draw_lines(figure: go.Figure, study: StudyData, data: FrontData, x: str, y: str) -> None:
    """The retain floor, grey below it, the forget Dice of a network that never saw the subjects, and where to go.

    They are set at once, as plotly's `add_hline` takes longer than a thousand trials.
    """
    shapes, notes = [], []
    if y == RETAIN and math.isfinite(data.floor):
        across, line = {"xref": "paper", "x0": 0, "x1": 1}, {"dash": "dash", "color": GREY, "width": 1.5}
        below = {"type": "rect", "y0": -1, "y1": data.floor, "fillcolor": GREY, "opacity": 0.1, "layer": "below"}
        shapes.append(below | across | {"line": {"width": 0}})
        shapes.append({"type": "line", "y0": data.floor, "y1": data.floor, "line": line, "opacity": 1} | across)
        right = {"xref": "paper", "x": 1, "xanchor": "right", "y": data.floor, "yanchor": "top"}
        text = f"retain floor {data.floor:.3f} = {study.settings.retain_floor:g} x baseline"
        notes.append(right | {"text": text, "font": {"size": 13}})
    heldout = study.reference(RETRAINED).get("heldout_dice", math.nan)
    if x == "forget_dice" and math.isfinite(heldout):
        up, line = {"yref": "paper", "y0": 0, "y1": 1}, {"dash": "dot", "color": GREEN, "width": 1.5}
        shapes.append({"type": "line", "x0": heldout, "x1": heldout, "line": line, "opacity": 1} | up)
        foot = {"yref": "paper", "y": 0, "yanchor": "bottom", "x": heldout, "xanchor": "left"}
        notes.append(foot | {"text": "held-out Dice of the retrained", "font": {"size": 13}})
    if _is_front(study, x, y):
        corner = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 1, "yanchor": "bottom"}
        notes.append(corner | {"text": "<b>↖ better</b>"})
    figure.update_layout(shapes=shapes, annotations=[note | {"showarrow": False} for note in notes])


def _groups(dots: Sequence[Dot], colour: str) -> list[tuple[str, dict, list[Dot]]]:
    """The traces of trials: name, marker and dots; from the bottom to the top."""
    if colour == KIND:
        groups = [(kind, marker, [dot for dot in dots if dot.kind == kind]) for kind, marker in MARKERS.items()]
    else:
        title = colour.replace("_", " ")
        groups = [(f"no {title}", MARKERS[INFEASIBLE], [dot for dot in dots if not given(dot.colour)])]
        known = [dot for dot in dots if given(dot.colour)]
        if any(isinstance(dot.colour, str | bool) for dot in known):
            for value in dict.fromkeys(dot.colour for dot in known):
                same = [dot for dot in known if dot.colour == value]
                groups.append((f"{title} {escape(numbers.knob(value))}", {"size": 9}, same))
        elif known:
            groups.append((title, _scale(title, [dot.colour for dot in known]), known))
    return [group for group in groups if group[2]]


def _scale(title: str, values: list[float]) -> dict:
    """The marker of a continuous colour, in decades where values span many."""
    if min(values) > 0 and max(values) > 50 * min(values):
        title, values = f"log10 {title}", [math.log10(value) for value in values]
    return {"size": 9, "color": values, "colorscale": "Viridis", "showscale": True, "colorbar": {"title": title}}


def _add_points(figure: go.Figure, name: str, points: Sequence[Dot | Landmark], marker: dict, **more: Any) -> None:
    if points:
        figure.add_scatter(
            x=[point.x for point in points],
            y=[point.y for point in points],
            mode="markers",
            marker=marker,
            name=name,
            text=[point.hover for point in points],
            hoverinfo="text",
            **more,
        )


def _add_staircase(figure: go.Figure, dots: Sequence[Dot], colour: str, name: str = "") -> None:
    """The retain Dice that a front reaches at each point across; with a name its trials too."""
    front = sorted((dot for dot in dots if dot.kind == FRONT), key=lambda dot: (dot.x, dot.y))
    figure.add_scatter(
        x=[dot.x for dot in front],
        y=[dot.y for dot in front],
        mode="lines+markers" if name else "lines",
        line={"shape": "hv", "color": colour, "width": 2},
        marker={"color": colour, "size": 9},
        name=name or None,
        text=[f"{name}<br>{dot.hover}" for dot in front] if name else None,
        hoverinfo="text" if name else "skip",
        showlegend=bool(name),
    )


def _add_below(figure: go.Figure, data: FrontData) -> None:
    """Arrowheads at the lower edge for trials whose retain Dice lies below the window."""
    low, high = data.window
    below = [dot for dot in data.dots if dot.y < low]
    edge = [dot._replace(y=low + 0.015 * (high - low)) for dot in below]
    _add_points(figure, f"retain Dice below {low:.2f} ({len(below)})", edge, _BELOW)
