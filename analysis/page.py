"""HTML pages that need nothing else: figures with the plotly library inside, and what stands below them."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import plotly.graph_objects as go

from study.records import replace_file

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What the page's browser may load: nothing from outside the file."""

_STYLE = (
    "body{font:15px/1.45 Helvetica,Arial,sans-serif;color:#222;margin:24px;max-width:1400px}"
    "table{border-collapse:collapse;margin:12px 0}td,th{padding:4px 12px 4px 0;text-align:left;vertical-align:top;"
    "border-bottom:1px solid #ddd}"
    "pre{white-space:pre-wrap}code{background:#f4f4f4;padding:1px 4px}.warn{color:#b23c00;font-weight:bold}"
)


def write_page(path: Path, title: str, figures: Sequence[go.Figure], below: str = "", above: str = "") -> None:
    """Write a page, replacing the file in one step.

    Args:
        path: of the file.
        title: as text.
        figures: shown in a column; each as tall as its layout says, else 560 pixels.
        below: HTML that follows the figures; whoever makes it escapes what it holds.
        above: HTML that precedes them.
    """
    drawn = []
    for number, figure in enumerate(figures):
        options = {
            "responsive": True,
            "displaylogo": False,
            "showSendToCloud": False,  # else the toolbar offers to upload the figure to plotly's servers
            "toImageButtonOptions": {"format": "svg", "filename": path.stem, "width": 1000, "height": 700},
        }
        height = f"{figure.layout.height or 560}px"
        plotly = number == 0
        drawn.append(figure.to_html(full_html=False, include_plotlyjs=plotly, default_height=height, config=options))
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join([above, *drawn, below])
        + "\n</body></html>\n"
    )
    replace_file(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
