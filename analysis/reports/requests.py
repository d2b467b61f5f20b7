"""What deletion requests did to each other: the table after every step, and its figure."""

from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table

from analysis import numbers
from analysis.figures.requests import requests_figure
from analysis.reports.page import markdown_table, write_page
from analysis.statistics.requests import requests_frame
from study.records.files import replace_file
from study.records.reading import StudyData


def write_requests(study: StudyData, folder: Path) -> None:
    """Write requests_table.csv, .md and .html."""
    frame = requests_frame(study)
    shown, markdown = _readable(frame), requests_markdown(study)
    replace_file(folder / "requests_table.csv", lambda path: frame.to_csv(path, index=False))
    replace_file(folder / "requests_table.md", lambda path: path.write_text(markdown, encoding="utf-8"))
    below = shown.to_html(index=False, border=0, justify="left")
    write_page(folder / "requests_table.html", f"{study.name}: requests", [requests_figure(study, frame), below])


def requests_markdown(study: StudyData) -> str:
    """The table as people read it."""
    return markdown_table(_readable(requests_frame(study)))


def terminal_requests(study: StudyData) -> Table:
    """The table as the terminal shows it."""
    shown = _readable(requests_frame(study))
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
