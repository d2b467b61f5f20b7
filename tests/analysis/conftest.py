"""Rows and study folders for the analysis tests, written through study.records.tables as a study writes them."""

import io
import json
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from study.records.evidence import EVIDENCE
from study.records.files import write_json
from study.records.metrics import METRICS
from study.records.reading import load_study
from study.records.rows import TrialRow
from study.records.tables import history_table, trials_table

KNOBS = {"noise_rate": float, "lr": float, "epochs": int, "resample": bool}
VALUES = {"noise_rate": 0.8125, "lr": 1.2e-4, "epochs": 13, "resample": True}
MARKS = ("feasible", "on_front", "diverged")
COLUMNS = trials_table(Path("nowhere"), KNOBS).schema.names


def trial_row(id, retain=None, forget=None, status="finished", **changes):
    """A row as the recorder leaves it, of a study whose baseline has a retain Dice of 0.8."""
    row = dict.fromkeys(COLUMNS) | {"id": id, "strategy": "noisy_label", "seed": 0, **VALUES}
    row |= {"epochs_done": 0, "seconds": 0.0, "status": status}
    if retain is not None:
        row |= dict.fromkeys(METRICS, 0.5) | dict.fromkeys(MARKS, False)
        row |= {"retain_dice": retain, "forget_dice": forget, "dice_gap": retain - forget, "retention": retain / 0.8}
        row |= {"epochs_done": 13, "seconds": 1234.5}
    return row | changes


def row_of(flat, knobs=KNOBS, metrics=METRICS):
    """A trial's row from a flat one, which may lack what no test asks for."""
    record = SimpleNamespace(knobs=knobs, metrics=metrics, evidence_columns=EVIDENCE)
    return TrialRow.of(dict.fromkeys([*COLUMNS, *knobs]) | flat, record)


def study_folder(folder, rows=(), history=(), **changes):
    """study.json with `changes`, and the tables that have rows."""
    (stored,) = (Path(__file__).parents[1] / "data/studies-of-0.1").glob("noisy_label-*/study.json")
    record = json.loads(stored.read_text()) | {
        "name": "hippocampus",
        "space": "noisy_label",
        "settings": {"retain_floor": 0.9, "trials": 8, "objective": "gap", "cohort": "phantom", "seed": 0},
        "knobs": {name: kind.__name__ for name, kind in KNOBS.items()},
        "constraints": ["retention>=0.9"],
        "references": {
            "baseline": {"retain_dice": 0.8, "forget_dice": 0.78},
            "retrained": {"retain_dice": 0.79, "forget_dice": 0.65},
        },
        "domains": {},
        "planned": 8,
        "published": {
            "retain_dice": 0.7576,
            "forget_dice": 0.0613,
            "source": "arXiv 2606.16180, Noisy Label, 50 epochs",
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    record |= changes
    record["references"] = {name: {"digest": "d", "seed": 0} | known for name, known in record["references"].items()}
    write_json(folder / "study.json", record)
    if rows:
        trials_table(folder, KNOBS).upsert(rows)
    if history:
        history_table(folder).upsert(history)
    return folder


class Page(HTMLParser):
    """What a browser makes of a page: tags, the text after each, headings, tables, and what is read."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.headings, self.tables, self.text, self._open = [], [], [], [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag in ("h1", "h2"):
            self.headings.append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data
        if "script" in self._open or "style" in self._open:
            return
        self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data
        elif {"h1", "h2"} & set(self._open):
            self.headings[-1] += data

    def table(self, first):
        """The table whose head begins with this, as rows by column."""
        (found,) = (table for table in self.tables if table[0][: len(first)] == list(first))
        return [dict(zip(found[0], row, strict=True)) for row in found[1:]]

    def all(self, tag):
        """What stands right after each tag of this kind."""
        return [text.strip() for (name, _), text in zip(self.tags, self.texts, strict=True) if name == tag]


@pytest.fixture(scope="session")
def page_of():
    """Reads a page as a browser does."""
    return Page


@pytest.fixture(scope="session")
def printed():
    """What the terminal shows: (renderable, width)."""

    def render(renderable, width, colours=None):
        file = io.StringIO()
        console = Console(
            width=width, file=file, force_terminal=colours is not None, color_system=colours, _environ={}
        )
        console.print(renderable)
        return file.getvalue()

    return render


@pytest.fixture(scope="session")
def write_study():
    """Writes a study into a folder: (folder, rows, history, changes of study.json)."""
    return study_folder


@pytest.fixture
def trial():
    return trial_row


@pytest.fixture(scope="session")
def typed():
    """A trial's row from a flat one."""
    return row_of


@pytest.fixture
def folder(tmp_path):
    """Writes a study, or more rows of the same one, and returns its folder."""
    return lambda *rows, history=(), **changes: study_folder(tmp_path / "study", rows, history, **changes)


@pytest.fixture
def study(tmp_path):
    """Writes a study of its own and reads it back."""
    numbers = count()
    return lambda *rows, history=(), **changes: load_study(
        study_folder(tmp_path / f"study-{next(numbers)}", rows, history, **changes)
    )


@pytest.fixture
def rows():
    """One trial of every kind, in the order in which they began; the retain floor lies at 0.72."""
    return [
        trial_row("good", 0.75, 0.25, feasible=True, on_front=True),
        trial_row("collapsed", 0.05, 0.0),
        trial_row("running", status="running"),
        trial_row("best", 0.74, 0.09, feasible=True, on_front=True),
        trial_row("beaten", 0.73, 0.3, feasible=True),
        trial_row("burst", 0.78, 0.02, diverged=True),
        trial_row("failed", 0.79, 0.01, status="failed"),
        trial_row("careful", 0.77, 0.6, feasible=True, on_front=True),
    ]
