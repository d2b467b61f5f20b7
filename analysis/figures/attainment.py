"""The surfaces that repeated studies attain, drawn."""

from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.figures.style import BLUE, blank, faint
from analysis.statistics.attainment import attainment, feasible_points
from study.records.reading import StudyData


def attainment_figure(studies: Sequence[StudyData]) -> go.Figure:
    """The surfaces that all, half and at least one of the studies attain."""
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
