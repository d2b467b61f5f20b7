"""What deletion requests did to each other: the table after every step, and its figure."""

from html import escape
from pathlib import Path

import pandas as pd  # type: ignore[import-untyped]
import plotly.graph_objects as go
from rich import box
from rich.table import Table

from analysis import numbers
from analysis.page import markdown_table, write_page
from analysis.style import BLUE, GREEN, ORANGE, blank
from study.records.files import replace_file
from study.records.reading import StudyData

_COLOURS = {"sequential": BLUE, "one-shot": ORANGE, "retrained": GREEN}


def sequence_frame(study: StudyData) -> pd.DataFrame:
    """One row per step and method.

    Columns: `step`, `method`, `trial`, `retain_dice`, `retention`, `heldout_dice`, `forget_dice` (all requests so
    far) and `request_N_dice` for each request; NaN for those to come. The retain set is that of the whole study.
    """
    dice = study.sequence[study.sequence["metric"] == "dice"]
    order = {name: place for place, name in enumerate(_COLOURS)}
    wide = dice.pivot(index=["step", "method", "trial"], columns="set", values="value").reset_index()
    wide = wide.sort_values(
        ["step", "method"], key=lambda column: column.map(order) if column.name == "method" else column
    )
    baseline = study.references["baseline"]["retain_dice"]
    frame = wide[["step", "method", "trial"]].assign(
        retain_dice=wide["retain"],
        retention=wide["retain"] / baseline,
        heldout_dice=wide["heldout"],
        forget_dice=wide["forget"],
    )
    asked = sorted((name for name in wide.columns if name.startswith("request-")), key=lambda name: int(name[8:]))
    return frame.assign(**{f"request_{name[8:]}_dice": wide[name] for name in asked}).reset_index(drop=True)


def sequence_figure(study: StudyData, frame: pd.DataFrame) -> go.Figure:
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


def write_sequence(study: StudyData, folder: Path) -> None:
    """Write requests_table.csv, .md and .html."""
    frame = sequence_frame(study)
    shown, markdown = _readable(frame), sequence_markdown(study)
    replace_file(folder / "requests_table.csv", lambda path: frame.to_csv(path, index=False))
    replace_file(folder / "requests_table.md", lambda path: path.write_text(markdown, encoding="utf-8"))
    below = shown.to_html(index=False, border=0, justify="left")
    write_page(folder / "requests_table.html", f"{study.name}: requests", [sequence_figure(study, frame), below])


def sequence_markdown(study: StudyData) -> str:
    """The table as people read it."""
    return markdown_table(_readable(sequence_frame(study)))


def terminal_sequence(study: StudyData) -> Table:
    """The table as the terminal shows it."""
    shown = _readable(sequence_frame(study))
    table = Table(
        title="Deletion requests", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    for name in shown.columns:
        table.add_column(name.replace(" ", "\n"), justify="left" if name == "method" else "right", no_wrap=True)
    for row in shown.itertuples(index=False):
        table.add_row(*map(str, row))
    return table


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"step": "step", "method": "method", "retain_dice": "retain", "retention": "retention"}
    names |= {"heldout_dice": "held out", "forget_dice": "all forgotten"}
    asked = [name for name in frame.columns if name.startswith("request_")]
    names |= {name: f"request {name.split('_')[1]}" for name in asked}
    shown = frame[list(names)].rename(columns=names)
    fractions = shown.select_dtypes("float").columns
    return shown.assign(**{name: shown[name].map(numbers.metric) for name in fractions})
