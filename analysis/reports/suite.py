"""The table of a suite: every recipe after every horizon, with intervals over seeds and subjects."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.table import Table

from analysis import numbers
from analysis.figures.suite import suite_figure
from analysis.reports.page import markdown_table, write_page
from analysis.statistics.intervals import COLUMNS
from analysis.statistics.suite import PUBLISHED, suite_table, suite_tests
from study.records.files import in_file_names, replace_file
from study.records.metrics import added
from study.records.reading import StudyData
from study.records.references import BASELINE, RETRAINED

_SHOWN = {
    "retain Dice": "retain_dice",
    "forget Dice": "forget_dice",
    "Dice gap": "dice_gap",
    "retain MAE": "retain_mae",
    "forget MAE": "forget_mae",
    "MAE gap": "mae_gap",
    "retention": "retention",
    "held-out Dice": "heldout_dice",
    "retrain gap": "retrain_gap",
}


def write_suite(study: StudyData, folder: Path) -> None:
    """Write `<space>_table.csv`, `.md` and `.html`, and `<space>_tests.csv`."""
    table, tests = suite_table(study), suite_tests(study)
    shown = _readable(study, table)
    name = in_file_names(study.space)
    csv, markdown, html = (folder / f"{name}_table.{kind}" for kind in ("csv", "md", "html"))
    replace_file(csv, lambda path: table.to_csv(path, index=False))
    replace_file(folder / f"{name}_tests.csv", lambda path: tests.to_csv(path, index=False))
    replace_file(markdown, lambda path: path.write_text(suite_markdown(study), encoding="utf-8"))
    figure = suite_figure(study, table)
    below = f"<p>{escape(_note(study))}</p>\n{shown.to_html(index=False, border=0, justify='left')}"
    write_page(html, f"{study.name}: table", [figure, below])


def suite_markdown(study: StudyData) -> str:
    """The table as people read it, and what stands behind it."""
    return f"{markdown_table(_readable(study, suite_table(study)))}\n{_note(study)}\n"


def terminal_suite(study: StudyData) -> Table:
    """The table as the terminal shows it: means, and the interval of the gap."""
    table = Table(
        caption=_note(study), caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    table.add_column("recipe", overflow="fold")
    for header in ("ep.", "retain", "forget", "gap [95 %]", "reten\ntion", "held\nout", "retr.\ngap"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in suite_table(study).to_dict("records"):
        means = {name: numbers.metric(row[name]) for name in COLUMNS}
        first = [
            row["recipe"],
            str(row["horizon"]),
            means["retain_dice"],
            means["forget_dice"],
            _cell(row, "dice_gap"),
        ]
        table.add_row(*first, means["retention"], means["heldout_dice"], means["retrain_gap"])
    return table


def _readable(study: StudyData, table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: mean [low, high], and the published point."""

    def published(row: Mapping[str, Any]) -> str:
        values = [row[f"published_{name}"] for name in PUBLISHED]
        return " / ".join(map(numbers.metric, values)) if np.isfinite(values[0]) else numbers.MISSING

    others = [study.metrics[column] for column in added(study.metrics) if study.metrics[column].subset]
    columns = _SHOWN | {metric.title: metric.column for metric in others}
    rows = [
        {"recipe": row["recipe"], "epochs": str(row["horizon"])}
        | {label: _cell(row, name) for label, name in columns.items()}
        | {"published retain / forget / gap": published(row)}
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _cell(row: Mapping[str, Any], name: str) -> str:
    mean, low, high = (numbers.metric(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return f"{mean} [{low}, {high}]"


def _note(study: StudyData) -> str:
    sizes = study.subjects.drop_duplicates("subject")["set"].value_counts()
    kept, held, gone = sizes.get("retain", 0), sizes.get("heldout", 0), sizes.get("forget", 0)
    base, again = study.references[BASELINE], study.references[RETRAINED]
    text = (
        f"Mean [95 % interval] over {study.suite['seeds']} seeds and {kept} retain, {gone} forget, {held} held-out"
        f" subjects (hierarchical bootstrap), {study.classes} classes. Baseline: retain Dice"
        f" {numbers.metric(base['retain_dice'])}, forget {numbers.metric(base['forget_dice'])}; retrained: retain"
        f" {numbers.metric(again['retain_dice'])}, forget {numbers.metric(again['forget_dice'])}."
    )
    return text + (
        " Few subjects or seeds: the intervals are too narrow." if min(gone, study.suite["seeds"]) < 5 else ""
    )
