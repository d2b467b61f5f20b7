"""How figures look: Okabe and Ito's colours, which colour-blind readers tell apart, on a plain ground."""

import plotly.graph_objects as go

BLUE, SKY, VERMILLION, GREEN = "#0072B2", "#56B4E9", "#D55E00", "#009E73"
PURPLE, ORANGE, YELLOW = "#CC79A7", "#E69F00", "#F0E442"
INK, GREY, LINE = "#222222", "#767676", "#eeeeee"
CYCLE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, GREY)
"""Of things that have no colour of their own."""


def blank(title: str = "") -> go.Figure:
    """A figure with nothing in it; the title may hold plotly's markup."""
    figure = go.Figure()
    figure.update_layout(
        template="simple_white",
        title={"text": title, "x": 0.01, "xanchor": "left"} if title else None,
        font={"family": "Helvetica, Arial, sans-serif", "size": 14, "color": INK},
        hoverlabel={"align": "left", "bgcolor": "white"},
        margin={"l": 80, "r": 20, "t": 90 if title else 30, "b": 60},
        colorway=CYCLE,
    )
    figure.update_xaxes(showgrid=True, gridcolor=LINE, zeroline=False)
    figure.update_yaxes(showgrid=True, gridcolor=LINE, zeroline=False)
    return figure


def faint(colour: str, opacity: float) -> str:
    """A colour (#rrggbb) as rgba."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
