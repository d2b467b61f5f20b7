"""Training curves: how retain and forget Dice move over the epochs of a study's trials."""

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.style import BLUE, VERMILLION, blank, faint
from study.records.reading import StudyData

_METRICS = {"retain_dice": ("retain Dice", BLUE), "forget_dice": ("forget Dice", VERMILLION)}
_SHARES = {"low": 0.1, "median": 0.5, "high": 0.9}


def bands(study: StudyData, strategy: str, metric: str) -> pd.DataFrame:
    """The median and the middle four fifths of a metric over a strategy's trials, one row per epoch.

    Columns: `epoch`, `low`, `median`, `high`, `trials` (those that got as far).
    """
    ids = study.trials.loc[study.trials["strategy"] == strategy, "id"]
    grouped = study.history[study.history["id"].isin(ids)].dropna(subset=[metric]).groupby("epoch")[metric]
    quantiles = {name: grouped.quantile(share) for name, share in _SHARES.items()}
    return pd.DataFrame({**quantiles, "trials": grouped.count()}).reset_index()


def curves_figure(study: StudyData, strategy: str, ids: Sequence[str] = ()) -> go.Figure:
    """The bands of retain and forget Dice, and single trials as lines over them."""
    figure = blank(f"<b>{strategy}</b>: median and 10-90 % of the trials" + (", and single ones" if ids else ""))
    for metric, (name, colour) in _METRICS.items():
        epochs = bands(study, strategy, metric)
        figure.add_scatter(
            x=[*epochs["epoch"], *epochs["epoch"][::-1]],
            y=[*epochs["high"], *epochs["low"][::-1]],
            fill="toself",
            fillcolor=faint(colour, 0.15),
            line_width=0,
            hoverinfo="skip",
            showlegend=False,
            legendgroup=metric,
        )
        figure.add_scatter(
            x=epochs["epoch"],
            y=epochs["median"],
            mode="lines",
            name=name,
            legendgroup=metric,
            line={"color": colour, "width": 2, "dash": "dot"},
            customdata=epochs["trials"],
            hovertemplate="epoch %{x}: median %{y:.3f} of %{customdata} trials",
        )
        for id in ids:
            curve = study.history[study.history["id"] == id].sort_values("epoch")
            line = {"color": colour, "width": 2.5}
            figure.add_scatter(x=curve["epoch"], y=curve[metric], mode="lines", name=f"{name} of {id}", line=line)
    figure.update_xaxes(title="Epoch")
    figure.update_yaxes(title="Dice", range=[-0.02, 1.02])
    return figure
