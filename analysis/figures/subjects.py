"""Every subject's Dice under several networks."""

import plotly.graph_objects as go

from analysis.figures.style import BLUE, GREEN, SKY, VERMILLION, blank
from study.records.reading import StudyData

_COLOURS = {"retain": BLUE, "forget": VERMILLION, "heldout": GREEN, "steering": SKY}


def subjects_figure(study: StudyData, trial: str, epoch: int) -> go.Figure:
    """The Dice of every subject under the baseline, the retrained references and the trial."""
    rows = study.subjects
    names = [name for name in rows["id"].unique() if name in study.references] + [trial]
    figure = blank()
    for subset, colour in _COLOURS.items():
        subjects = rows[
            (rows["set"] == subset) & rows["id"].isin(names) & ((rows["id"] != trial) | (rows["epoch"] == epoch))
        ]
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
