"""Pages that need nothing from outside."""

import re
from html import escape

import pandas as pd
import plotly.graph_objects as go
import pytest
from markdown_it import MarkdownIt

from analysis.reports.page import markdown_table, plain, write_page


@pytest.fixture
def page(tmp_path):
    figures = [
        go.Figure().add_scatter(x=[1, 2], y=[3, 4]),
        go.Figure().add_box(y=[1, 2, 3]).update_layout(height=321),
    ]
    path = tmp_path / "deep.html"
    path.write_text("old")
    write_page(path, "a <b> & c", ["<h1 id=above>start</h1>", *figures, "<p id=below>end</p>"])
    assert [file.name for file in tmp_path.iterdir()] == ["deep.html"]
    return path.read_text(encoding="utf-8")


def test_the_title_is_text_and_everything_has_its_place(page):
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    places = [page.index(mark) for mark in ("id=above", 'class="plotly-graph-div"', "id=below", "</body>")]
    assert places == sorted(places)
    assert page.count('class="plotly-graph-div"') == 2
    assert "height:560px" in page
    assert "height:321px" in page


def test_nothing_is_loaded_and_the_library_is_there_once(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)\s*=", page)
    assert 3e6 < len(page) < 8e6  # one copy of plotly's library has about 4.7 MB


def test_a_page_without_figures(tmp_path):
    write_page(tmp_path / "bare.html", "bare", ["only this"])
    text = (tmp_path / "bare.html").read_text()
    assert "only this" in text
    assert "<script" not in text


WORDS = [
    "a|b",
    "a\\|b",
    "|",
    "ends with \\",
    "two\nlines\r\nthree",
    "<b>bold</b>",
    "<https://example.org>",
    "*a* **b** __c__ _d_ noisy_label ~~e~~",
    "`code` ``",
    "[link](https://example.org) ![image](https://example.org/x.png)",
    "&lt; &amp; &#42;",
    "# no heading",
    "0.700 [0.600, 0.800]",
    "",
]


def shown(markdown):
    """The HTML of the cells that a renderer makes of it, with GitHub's additions."""
    page = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(markdown)
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def test_cells_are_shown_as_they_are():
    """Whatever stands in them, a renderer makes one cell of each and no markup."""
    frame = pd.DataFrame({"first|": WORDS, "*second*": WORDS[::-1], "n": range(len(WORDS))})
    lines = [escape(" ".join(word.split()), quote=False) for word in WORDS]
    expected = zip(lines, lines[::-1], map(str, range(len(WORDS))), strict=True)
    assert shown(markdown_table(frame)) == [["first|", "*second*", "n"], *map(list, expected)]


def test_plain_words_stay_readable_in_the_source():
    for word in ("noisy_label", "0.700 [0.600, 0.800]", "retention>=0.9", "a (b) - c. d + e # 5 %"):
        assert plain(word) == word


def test_a_table_without_rows_has_its_head():
    assert shown(markdown_table(pd.DataFrame({"a": [], "b": []}))) == [["a", "b"]]
