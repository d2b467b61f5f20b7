"""Forgotten and retained subjects' Dice, deletion request by deletion request."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import BLUE, GREEN, ORANGE, blank
from analysis.statistics.requests import METHODS
from study.records.reading import StudyData

_COLOURS = dict(zip(METHODS, (BLUE, ORANGE, GREEN), strict=True))


def requests_figure(study: StudyData, frame: pd.DataFrame) -> go.Figure:
    """Forget Dice of all requests so far (lines) and retain Dice (dotted), step by step, for each method."""
    figure = blank(f"<b>{escape(study.name)}: deletion requests</b>")
    for method, colour in _COLOURS.items():
        rows = frame[frame["method"] == method]
        for column, dash in (("retain_dice", "dot"), ("forget_dice", "solid")):
            figure.add_scatter(
                x=rows["step"],
                y=rows[column],
                mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2},
                marker={"size": 9},
                name=f"{method}: {column.partition('_')[0]}",
            )
    figure.update_xaxes(title="requests so far", dtick=1)
    figure.update_yaxes(title="Dice", range=[-0.02, 1.02])
    return figure
