"""The recipes of a suite side by side."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import BLUE, GREEN, VERMILLION, blank
from study.records.reading import StudyData
from study.records.references import BASELINE, RETRAINED


def suite_figure(study: StudyData, table: pd.DataFrame) -> go.Figure:
    """Retain and forget Dice of every recipe and horizon with their intervals, beside the references."""
    figure = blank(f"<b>{escape(study.name)}</b><br><sup>recipe and epochs; bars: 95 % intervals</sup>")
    references = [name for name in (BASELINE, RETRAINED) if name in study.references]
    names = [f"{row.recipe}, {row.horizon}" for row in table.itertuples()]
    for column, colour, label in (
        ("retain_dice", BLUE, "retain Dice"),
        ("heldout_dice", GREEN, "held-out Dice"),
        ("forget_dice", VERMILLION, "forget Dice"),
    ):
        centre = table[column]
        bare = [0.0] * len(references)
        figure.add_scatter(
            x=[*references, *names],
            y=[*(study.references[name][column] for name in references), *centre],
            error_y={
                "array": [*bare, *(table[f"{column}_high"] - centre)],
                "arrayminus": [*bare, *(centre - table[f"{column}_low"])],
                "width": 5,
            },
            mode="markers",
            marker={"color": colour, "size": 11},
            name=label,
        )
    figure.update_layout(scattermode="group", scattergap=0.7)
    figure.update_yaxes(title="Dice", range=[-0.02, 1.02])
    return figure
