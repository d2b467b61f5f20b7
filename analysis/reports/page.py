"""HTML pages that need nothing else: text and figures in a column, with the plotly library inside."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from analysis.figures.front import front_figure, history_figure
from study.records.files import replace_file
from study.records.reading import StudyData

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What the page's browser may load: nothing from outside the file."""

_STYLE = (
    "body{font:15px/1.45 Helvetica,Arial,sans-serif;color:#222;margin:24px;max-width:1400px}"
    "table{border-collapse:collapse;margin:12px 0}td,th{padding:4px 12px 4px 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}"
    "pre{white-space:pre-wrap}code{background:#f4f4f4;padding:1px 4px}.warn{color:#b23c00;font-weight:bold}"
)

_MARKUP = re.compile(r"[\\`*<&|~]|(?<=\])\(|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would not show as it is; an underscore between letters, and brackets without a link, it does."""


def write_page(path: Path, title: str, parts: Sequence[str | go.Figure]) -> None:
    """Write a page, replacing the file in one step.

    Args:
        path: of the file.
        title: as text.
        parts: HTML (whoever makes it escapes what it holds) and figures, from top to bottom; a figure is as tall as
            its layout says, else 560 pixels.
    """
    options = {
        "responsive": True,
        "displaylogo": False,
        "showSendToCloud": False,  # else the toolbar offers to upload the figure to plotly's servers
        "toImageButtonOptions": {"format": "svg", "filename": path.stem, "width": 1000, "height": 700},
    }
    drawn, plotly = [], True  # the library comes once, with the first figure
    for part in parts:
        if not isinstance(part, str):
            height = f"{part.layout.height or 560}px"
            part = part.to_html(full_html=False, include_plotlyjs=plotly, default_height=height, config=options)
            plotly = False
        drawn.append(part)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(drawn)
        + "\n</body></html>\n"
    )
    replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))


def write_pareto(study: StudyData, path: Path) -> None:
    """Write the page of a study's front and of its search's history."""
    figures = [front_figure(study).update_layout(height=640), history_figure(study).update_layout(height=360)]
    write_page(path, f"{study.name}: Pareto front", figures)


def markdown_table(rows: pd.DataFrame | Sequence[Mapping[str, object]]) -> str:
    """A table of words in Markdown; nothing in a cell is taken for markup."""
    frame = pd.DataFrame(rows)
    lines = ["| " + " | ".join(map(plain, row)) + " |" for row in [frame.columns, *frame.itertuples(index=False)]]
    return "\n".join([lines[0], "|" + "---|" * len(frame.columns), *lines[1:], ""])


def plain(value: object) -> str:
    """A line of Markdown that shows a value's words as they are."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(str(value).splitlines()))
