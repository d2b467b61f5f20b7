"""The shares of the hyperparameters in the result, as bars."""

from collections.abc import Mapping

import plotly.graph_objects as go

from analysis.figures.style import BLUE, ORANGE, blank


def importance_figure(shares_of: Mapping[str, Mapping[str, float]], objective: str) -> go.Figure:
    """The shares side by side.

    Args:
        shares_of: method -> knob -> share.
        objective: its name in the title.
    """
    figure = blank(f"<b>What decides the {objective}</b>")
    for (method, shares), colour in zip(shares_of.items(), (BLUE, ORANGE), strict=False):
        figure.add_bar(y=list(shares), x=list(shares.values()), orientation="h", name=method, marker_color=colour)
    count = max((len(shares) for shares in shares_of.values()), default=0)
    figure.update_layout(barmode="group", height=150 + 45 * count, margin_l=150)
    figure.update_xaxes(title="Share", range=[0, 1])
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure
