"""The Pareto figure of a study and the history of its search, drawn with plotly."""

import math
from collections.abc import Sequence
from html import escape
from itertools import cycle
from textwrap import wrap

import plotly.graph_objects as go

from analysis import numbers
from analysis.figures.front_data import (
    DIVERGED,
    FEASIBLE,
    FRONT,
    INFEASIBLE,
    Dot,
    Landmark,
    ParetoData,
    pareto_data,
)
from analysis.figures.style import BLUE, CYCLE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION, blank
from study.records.reading import StudyData
from study.records.trials import FINISHED

DOTS = {
    INFEASIBLE: {"symbol": "circle-open", "color": GREY, "size": 8, "line": {"width": 1.5}},
    DIVERGED: {"symbol": "x-thin", "size": 9, "line": {"width": 2.5, "color": VERMILLION}},
    FEASIBLE: {"symbol": "circle", "color": SKY, "size": 9, "line": {"width": 1, "color": "white"}},
    FRONT: {"symbol": "circle", "color": BLUE, "size": 11, "line": {"width": 1, "color": "white"}},
}
_LANDMARKS = {
    "baseline": {"symbol": "square", "color": INK, "size": 12},
    "retrained": {"symbol": "diamond", "color": GREEN, "size": 14},
    "published": {"symbol": "star", "color": PURPLE, "size": 16},
}
_LOWER = {"forget_dice": "lower = more is forgotten"}
VALUES = {"dice_gap": "Dice gap", "retrain_gap": "Retrain gap", "unseen_gap": "Unseen gap"}
_BEST = {"symbol": "circle-open", "color": ORANGE, "size": 20, "line": {"width": 3}}
_LEGEND_CHARACTERS = 24


def pareto_figure(study: StudyData) -> go.Figure:
    """Forgetting against retain Dice of every finished trial, with the front, the landmarks and the retain floor."""
    data = pareto_data(study)
    figure = blank(f"<b>{escape(study.name)}</b><br><sup>{_summary(data)}</sup>")
    figure.update_xaxes(
        title=f"{study.objective.title}  ({_LOWER.get(study.objective.forgetting, 'lower = less distinguishable')})",
        range=[-0.03, 1.02],
        dtick=0.1,
    )
    figure.update_yaxes(title="Retain Dice  (higher = more is kept)", range=data.window)
    _add_floor(figure, data, study.retain_floor)
    for landmark in data.landmarks:
        _add_points(figure, _legend(landmark), [landmark], _LANDMARKS[landmark.name.partition("-")[0]])
    _add_below(figure, data)
    _add_line(figure, data)
    for kind, marker in DOTS.items():
        dots = [dot for dot in data.dots if dot.kind == kind]
        _add_points(figure, f"{kind} ({len(dots)})", dots, marker)
    if data.best is not None:
        name, signed = VALUES[study.objective.best.column], study.objective.best.sign > 0
        _add_points(figure, f"best: {name.lower()} {numbers.metric(data.best.value, signed)}", [data.best], _BEST)
    figure.update_layout(legend_traceorder="reversed")
    figure.add_annotation(
        text="<b>↖ better</b>",
        xref="paper",
        yref="paper",
        x=0,
        y=1,
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
    )
    return figure


def overlay_figure(studies: Sequence[StudyData]) -> go.Figure:
    """The finished trials and fronts of several studies in one plane of forget and retain Dice."""
    figure = blank("<b>Fronts</b>")
    for study, colour in zip(studies, cycle(CYCLE)):
        trials = study.trials[study.trials["status"] == FINISHED]
        front = trials[trials["on_front"]].sort_values("forget_dice")
        for rows, mode, marker in (
            (trials, "markers", {"color": colour, "size": 7, "opacity": 0.35}),
            (front, "lines+markers", {"color": colour, "size": 10}),
        ):
            figure.add_scatter(
                x=rows["forget_dice"],
                y=rows["retain_dice"],
                mode=mode,
                marker=marker,
                line={"shape": "hv", "color": colour, "width": 2},
                text=rows["id"],
                name=escape(study.name),
                legendgroup=study.name,
                showlegend=rows is front,
            )
    figure.update_xaxes(title="Forget Dice", range=[-0.03, 1.02])
    figure.update_yaxes(title="Retain Dice")
    return figure


def _add_points(figure: go.Figure, name: str, points: list[Dot] | list[Landmark], marker: dict) -> None:
    if points:
        figure.add_scatter(
            x=[point.forgetting for point in points],
            y=[point.retain for point in points],
            mode="markers",
            marker=marker,
            name=name,
            text=[point.hover for point in points],
            hoverinfo="text",
        )


def _add_line(figure: go.Figure, data: ParetoData) -> None:
    """The retain Dice that the front reaches at each forget Dice."""
    front = sorted((dot for dot in data.dots if dot.kind == FRONT), key=lambda dot: dot.forgetting)
    figure.add_scatter(
        x=[dot.forgetting for dot in front],
        y=[dot.retain for dot in front],
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )


def _add_floor(figure: go.Figure, data: ParetoData, fraction: float) -> None:
    """Dashed line and grey region; nothing for an unknown floor."""
    if not math.isfinite(data.floor):
        return
    figure.add_hrect(y0=-1, y1=data.floor, fillcolor=GREY, opacity=0.1, line_width=0, layer="below")
    figure.add_hline(
        y=data.floor,
        line={"dash": "dash", "color": INK, "width": 1.5},
        opacity=1,
        annotation_text=f"retain floor {data.floor:.3f} = {fraction:g} x baseline",
        annotation_position="bottom right",
        annotation_font={"size": 13},
    )


def _add_below(figure: go.Figure, data: ParetoData) -> None:
    """Arrowheads at the lower edge for trials whose retain Dice lies below the window."""
    low, high = data.window
    below = [dot for dot in data.dots if dot.retain < low]
    edge = [dot._replace(retain=low + 0.015 * (high - low)) for dot in below]
    marker = {"symbol": "triangle-down", "color": GREY, "size": 10}
    _add_points(figure, f"retain Dice below {low:.2f} ({len(below)})", edge, marker)


def _summary(data: ParetoData) -> str:
    missing = "".join(f", {count} {status}" for status, count in data.missing.items())
    return f"{len(data.dots)} trials with a result{missing}"


def _legend(landmark: Landmark) -> str:
    return "<br>".join([landmark.name, *wrap(landmark.source, _LEGEND_CHARACTERS)])
