"""The tables of a suite (every recipe after every horizon) and of deletion requests: as files and in the terminal."""

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from rich.table import Table

from analysis import numbers
from analysis.figures.charts import suite_figure
from analysis.figures.requests import requests_figure, requests_frame
from analysis.reports.page import markdown_table, write_page
from analysis.reports.terminal_tables import add_numbers, plain_table
from analysis.statistics.intervals import COLUMNS
from analysis.statistics.recipes import BESIDE, PUBLISHED, suite_table, suite_tests
from analysis.statistics.significance import reach
from study.records.files import in_file_names, replace_file
from study.records.metrics import added
from study.records.reading import StudyData
from study.records.references import BASELINE, RETRAINED


def write_suite(study: StudyData, folder: Path) -> None:
    """Write `<space>_table.csv`, `.md` and `.html`, and `<space>_tests.csv`."""
    name, table, tests = in_file_names(study.space), suite_table(study), suite_tests(study)
    note = f"<p>{escape(_note(study))}</p>\n"
    parts = [suite_figure(study, table), note + _html(_readable_suite(study, table))]
    _write(folder / f"{name}_table", table, suite_markdown(study), f"{study.name}: table", parts)
    replace_file(folder / f"{name}_tests.csv", lambda path: tests.to_csv(path, index=False))


def write_requests(study: StudyData, folder: Path) -> None:
    """Write requests_table.csv, .md and .html."""
    frame = requests_frame(study)
    parts = [requests_figure(study, frame), _html(_readable_requests(frame))]
    _write(folder / "requests_table", frame, requests_markdown(study), f"{study.name}: requests", parts)


def _write(stem: Path, frame: pd.DataFrame, markdown: str, title: str, parts: list[str | go.Figure]) -> None:
    csv, text, page = (Path(f"{stem}.{kind}") for kind in ("csv", "md", "html"))
    replace_file(csv, lambda path: frame.to_csv(path, index=False))
    replace_file(text, lambda path: path.write_text(markdown, encoding="utf-8"))
    write_page(page, title, parts)


def _html(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0, justify="left")


def suite_markdown(study: StudyData) -> str:
    """A suite's table as people read it, and what stands behind it."""
    return f"{markdown_table(_readable_suite(study, suite_table(study)))}\n{_note(study)}\n"


def requests_markdown(study: StudyData) -> str:
    """The requests' table as people read it."""
    return markdown_table(_readable_requests(requests_frame(study)))


def terminal_suite(study: StudyData) -> Table:
    """A suite's table as the terminal shows it: means, and the interval of the gap."""
    table = plain_table(caption=_note(study), caption_justify="left")
    table.add_column("recipe", overflow="fold")
    columns = {"retain_dice": "retain", "forget_dice": "forget", "forget_dice_views": "under\nviews"}
    columns |= {"retention": "reten\ntion", "heldout_dice": "held\nout", "price": "price"}
    found = suite_table(study)
    columns = {name: title for name, title in columns.items() if name in found}
    add_numbers(table, ["ep.", "gap [95 %]", *columns.values()])
    for row in found.to_dict("records"):
        gap = numbers.interval_of(row, "dice_gap")
        table.add_row(row["recipe"], str(row["horizon"]), gap, *(numbers.metric(row[name]) for name in columns))
    return table


def terminal_requests(study: StudyData) -> Table:
    """The requests' table as the terminal shows it."""
    readable, table = _readable_requests(requests_frame(study)), plain_table("Deletion requests")
    for name in readable.columns:
        table.add_column(name.replace(" ", "\n"), justify="left" if name == "method" else "right", no_wrap=True)
    for row in readable.itertuples(index=False):
        table.add_row(*map(str, row))
    return table


def _readable_suite(study: StudyData, table: pd.DataFrame) -> pd.DataFrame:
    """Mean [low, high] of the metrics, and the published point."""

    def published(row: Mapping[str, Any]) -> str:
        values = [row[f"published_{name}"] for name in PUBLISHED]
        return " / ".join(map(numbers.metric, values)) if np.isfinite(values[0]) else numbers.MISSING

    metrics = [study.metrics[column] for column in (*COLUMNS, *added(study.metrics)) if f"{column}_low" in table]
    rows = [
        {"recipe": row["recipe"], "epochs": str(row["horizon"])}
        | {metric.title: numbers.interval_of(row, metric.column) for metric in metrics}
        | {study.metrics[name].title: numbers.metric(row[name]) for name in BESIDE if name in table}
        | {"price": numbers.metric(row["price"], digits=2)}
        | {"published retain / forget / gap": published(row)}
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _readable_requests(frame: pd.DataFrame) -> pd.DataFrame:
    names = {"step": "step", "method": "method", "retain_dice": "retain", "retention": "retention"}
    names |= {"heldout_dice": "held out", "forget_dice": "all forgotten"}
    names |= {name: f"request {name.split('_')[1]}" for name in frame if name.startswith("request_")}
    readable = frame[list(names)].rename(columns=names)
    fractions = readable.select_dtypes("float").columns
    return readable.assign(**{name: readable[name].map(numbers.metric) for name in fractions})


def _note(study: StudyData) -> str:
    sizes = study.subjects.drop_duplicates("subject")["set"].value_counts()
    seeds = study.suite.seeds
    baseline, retrained = study.reference(BASELINE), study.reference(RETRAINED)
    text = (
        f"Mean [95 % interval] over {numbers.counted(seeds, 'seed')} and {sizes.get('retain', 0)} retain,"
        f" {sizes.get('forget', 0)} forget, {sizes.get('heldout', 0)} held-out subjects,"
        f" {len(study.cohort.classes)} classes."
        f" Baseline: retain Dice {numbers.metric(baseline['retain_dice'])}, forget"
        f" {numbers.metric(baseline['forget_dice'])}; retrained: retain {numbers.metric(retrained['retain_dice'])},"
        f" forget {numbers.metric(retrained['forget_dice'])}."
    )
    return f"{text} {reach(seeds, math.comb(len(study.suite.entries), 2))}"
