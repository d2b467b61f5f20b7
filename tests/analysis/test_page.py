"""Pages that need nothing from outside."""

import re

import plotly.graph_objects as go
import pytest

from analysis.page import write_page


@pytest.fixture
def page(tmp_path):
    figures = [
        go.Figure().add_scatter(x=[1, 2], y=[3, 4]),
        go.Figure().add_box(y=[1, 2, 3]).update_layout(height=321),
    ]
    path = tmp_path / "deep.html"
    path.write_text("old")
    write_page(path, "a <b> & c", figures, below="<p id=below>end</p>", above="<h1 id=above>start</h1>")
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
    write_page(tmp_path / "bare.html", "bare", [], "only this")
    text = (tmp_path / "bare.html").read_text()
    assert "only this" in text
    assert "<script" not in text
