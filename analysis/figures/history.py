"""The history of a study's search."""

import plotly.graph_objects as go

from analysis.figures.front import MARKERS
from analysis.figures.front_data import DIVERGED, FEASIBLE, FRONT, INFEASIBLE, best_so_far, trial_dots
from analysis.figures.style import ORANGE, blank
from study.records.metrics import label
from study.records.reading import StudyData

_EVERY_TICK = 20
"""Trials up to which each has a tick."""


def history_figure(study: StudyData) -> go.Figure:
    """What is searched for, of every finished trial in the order in which they began, and the best so far."""
    trials = trial_dots(study, study.objective.forgetting, "retain_dice")
    figure = blank("<b>Search history</b>")
    count = max(len(study.trials), 1)
    figure.update_layout(margin_t=50, legend_traceorder="reversed")
    figure.update_xaxes(title="Trial", range=[0.5, count + 0.5], dtick=1 if count <= _EVERY_TICK else None)
    figure.update_yaxes(title=label(study.metrics, study.objective.best.column))
    for kind in (INFEASIBLE, DIVERGED, FEASIBLE, FRONT):
        dots = [dot for dot in trials if dot.kind == kind]
        figure.add_scatter(
            x=[dot.number for dot in dots],
            y=[dot.value for dot in dots],
            mode="markers",
            marker=MARKERS[kind],
            name=kind,
            text=[dot.hover for dot in dots],
            hoverinfo="text",
        )
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
