"""Figures of one trace or two: knobs' importance, attained surfaces, subjects' Dice, a suite's recipes."""

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import BLUE, GREEN, ORANGE, SKY, VERMILLION, blank, faint
from analysis.statistics.plane import attainment, feasible_points
from study.records.reading import StudyData
from study.records.references import BASELINE, RETRAINED

_SETS = {"retain": BLUE, "forget": VERMILLION, "heldout": GREEN, "steering": SKY}


def importance_figure(shares_of: Mapping[str, Mapping[str, float]], objective: str) -> go.Figure:
    """The shares of the knobs in the result, method -> knob -> share, as bars side by side."""
    figure = blank(f"<b>What decides the {objective}</b>")
    for (method, shares), colour in zip(shares_of.items(), (BLUE, ORANGE), strict=False):
        figure.add_bar(y=list(shares), x=list(shares.values()), orientation="h", name=method, marker_color=colour)
    count = max((len(shares) for shares in shares_of.values()), default=0)
    figure.update_layout(barmode="group", height=150 + 45 * count, margin_l=150)
    figure.update_xaxes(title="Share", range=[0, 1])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure


def attainment_figure(studies: Sequence[StudyData]) -> go.Figure:
    """The surfaces of the plane that all, half and at least one of the studies attain."""
    fronts = [feasible_points(study) for study in studies]
    figure = blank(f"<b>Attained by how many of {len(studies)} studies</b>")
    for level, name, width in ((1 / len(fronts), "at least one", 1), (0.5, "half", 3), (1.0, "all", 1)):
        corners = attainment(fronts, level)
        figure.add_scatter(
            x=[*corners[:, 0], 1.0] if len(corners) else [],
            y=[*corners[:, 1], *corners[-1:, 1]],
            mode="lines",
            line={"shape": "hv", "color": BLUE, "width": width, "dash": "solid" if width > 1 else "dot"},
            fill="tonexty" if level == 1.0 else None,
            fillcolor=faint(BLUE, 0.12),
            name=name,
        )
    figure.update_xaxes(title="Forget Dice", range=[-0.03, 1.02])
    figure.update_yaxes(title="Retain Dice")
    return figure


def subjects_figure(study: StudyData, trial: str, epoch: int) -> go.Figure:
    """The Dice of every subject under the baseline, the retrained references and the trial."""
    rows = study.subjects
    names = [name for name in rows["id"].unique() if name in study.references] + [trial]
    rows = rows[rows["id"].isin(names) & ((rows["id"] != trial) | (rows["epoch"] == epoch))]
    figure = blank()
    for subset, colour in _SETS.items():
        subjects = rows[rows["set"] == subset]
        if len(subjects):
            figure.add_box(
                x=subjects["id"],
                y=subjects["dice"],
                name=subset.replace("heldout", "held out"),
                text=subjects["subject"],
                marker={"color": colour, "size": 8},
                boxpoints="all",
                pointpos=0,
                jitter=0.4,
                fillcolor="rgba(0,0,0,0)",
                line={"width": 1},
            )
    figure.update_layout(boxmode="group", height=460)
    figure.update_xaxes(categoryorder="array", categoryarray=names)
    figure.update_yaxes(title="Dice of a subject", range=[-0.02, 1.02])
    return figure


def suite_figure(study: StudyData, table: pd.DataFrame) -> go.Figure:
    """Retain and forget Dice of every recipe and horizon with their intervals, beside the references."""
    figure = blank(f"<b>{escape(study.name)}</b><br><sup>recipe and epochs; bars: 95 % intervals</sup>")
    references = [name for name in (BASELINE, RETRAINED) if name in study.references]
    names = [f"{row.recipe}, {row.horizon}" for row in table.itertuples()]
    exact = [0.0] * len(references)
    for subset in ("retain", "heldout", "forget"):
        column = f"{subset}_dice"
        figure.add_scatter(
            x=[*references, *names],
            y=[*(study.reference(name)[column] for name in references), *table[column]],
            error_y={
                "array": [*exact, *(table[f"{column}_high"] - table[column])],
                "arrayminus": [*exact, *(table[column] - table[f"{column}_low"])],
                "width": 5,
            },
            mode="markers",
            marker={"color": _SETS[subset], "size": 11},
            name=f"{subset.replace('heldout', 'held-out')} Dice",
        )
    figure.update_layout(scattermode="group", scattergap=0.7)
    figure.update_yaxes(title="Dice", range=[-0.02, 1.02])
    return figure
