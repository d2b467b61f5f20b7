"""What deletion requests did to each other: the Dice of every set after every step, as a table and as a figure."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import BLUE, GREEN, ORANGE, blank
from study.records.reading import StudyData
from study.records.references import BASELINE

_METHODS = {"sequential": BLUE, "one-shot": ORANGE, "retrained": GREEN}
"""The networks after a step: unlearned one request after the other, all at once, and never trained on them."""


def requests_frame(study: StudyData) -> pd.DataFrame:
    """One row per step and method.

    Columns: `step`, `method`, `trial`, `retain_dice`, `retention`, `heldout_dice`, `forget_dice` (all requests so
    far) and `request_N_dice` for each request; NaN for those to come. The retain set is that of the whole study.
    """
    dice = study.requests[study.requests["metric"] == "dice"]
    wide = dice.pivot(index=["step", "method", "trial"], columns="set", values="value")
    wide = wide.sort_index(key=lambda level: level.map([*_METHODS].index) if level.name == "method" else level)
    asked = sorted((name for name in wide if name.startswith("request-")), key=lambda name: int(name[8:]))
    frame = pd.DataFrame(
        {
            "retain_dice": wide["retain"],
            "retention": wide["retain"] / study.reference(BASELINE)["retain_dice"],
            "heldout_dice": wide["heldout"],
            "forget_dice": wide["forget"],
            **{f"request_{name[8:]}_dice": wide[name] for name in asked},
        }
    )
    return frame.reset_index()


def requests_figure(study: StudyData, frame: pd.DataFrame) -> go.Figure:
    """Forget Dice of all requests so far (lines) and retain Dice (dotted), step by step, for each method."""
    figure = blank(f"<b>{escape(study.name)}: deletion requests</b>")
    for method, colour in _METHODS.items():
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
