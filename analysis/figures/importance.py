"""The shares of the hyperparameters in the result, as bars."""

from collections.abc import Mapping

import plotly.graph_objects as go

from analysis.figures.style import BLUE, ORANGE, blank


def importance_figure(found: Mapping[str, Mapping[str, float]], objective: str) -> go.Figure:
    """The shares side by side.

    Args:
        found: method -> knob -> share.
        objective: as a title tells it.
    """
    figure = blank(f"<b>What decides the {objective}</b>")
    for (method, shares), colour in zip(found.items(), (BLUE, ORANGE), strict=False):
        figure.add_bar(y=list(shares), x=list(shares.values()), orientation="h", name=method, marker_color=colour)
    count = max((len(shares) for shares in found.values()), default=0)
    figure.update_layout(barmode="group", height=150 + 45 * count, margin_l=150)
    figure.update_xaxes(title="Share", range=[0, 1])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
