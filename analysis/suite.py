"""The table of a suite: every recipe after every horizon, with intervals over seeds and subjects."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import plotly.graph_objects as go
from rich import box
from rich.table import Table

from analysis import numbers
from analysis.intervals import COLUMNS, metric_intervals, values_after, with_bounds
from analysis.page import markdown_table, write_page
from analysis.ranking import paired_tests
from analysis.style import BLUE, GREEN, VERMILLION, blank
from study.records.files import in_file_names, replace_file
from study.records.reading import StudyData
from study.records.references import BASELINE, RETRAINED
from study.records.trials import RUNNING

_PUBLISHED = ("retain_dice", "forget_dice", "dice_gap")
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


def suite_table(study: StudyData) -> pd.DataFrame:
    """One row per recipe and horizon, in the suite's order.

    Columns: `strategy`, `horizon` (epochs), `COLUMNS` with their `_low` and `_high`, `seeds` (trials behind the
    row), `diverged` (those that ended before the horizon; their last epoch counts), `published_*` where known.
    """
    rows = []
    for entry in study.suite["entries"]:
        chosen = study.trials[(study.trials["strategy"] == entry["strategy"]) & (study.trials["status"] != RUNNING)]
        for horizon in study.suite["horizons"]:
            values = values_after(study, list(chosen["id"]), horizon)
            if values.empty:
                continue
            row = {"strategy": entry["strategy"], "horizon": horizon}
            row |= with_bounds(metric_intervals(study, values))
            row |= {
                "seeds": values["id"].nunique(),
                "diverged": int(chosen["epochs_done"].between(1, horizon - 1).sum()),
            }
            row |= _published(entry["published"].get(str(horizon), {}))
            rows.append(row)
    return pd.DataFrame(rows)


def suite_tests(study: StudyData) -> pd.DataFrame:
    """Sign-flip tests between all pairs of recipes, on the same subjects and seeds (SCIENCE: the unit is both).

    Columns: `horizon`, `metric` (`retain_dice`, `forget_dice`, `heldout_dice`), `first`, `second`, `units`,
    `difference` (first - second, mean over units), `p` (two-sided), `p_holm` (corrected over the pairs).
    """
    order = {entry["strategy"]: place for place, entry in enumerate(study.suite["entries"])}
    trials = study.trials[study.trials["status"] != RUNNING].rename(columns={"seed": "run"})
    trials = trials.sort_values("strategy", key=lambda names: names.map(order), kind="stable")
    found = []
    for horizon in study.suite["horizons"]:
        values = values_after(study, list(trials["id"]), horizon)
        tests = paired_tests(trials[["id", "strategy", "run"]].merge(values, on="id"))
        found.append(tests.assign(horizon=horizon))
    tests = pd.concat(found, ignore_index=True)
    return tests[["horizon", *(name for name in tests.columns if name != "horizon")]]


def write_suite(study: StudyData, folder: Path) -> None:
    """Write `<space>_table.csv`, `.md` and `.html`, and `<space>_tests.csv`."""
    table, tests = suite_table(study), suite_tests(study)
    shown = _readable(table)
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
    return f"{markdown_table(_readable(suite_table(study)))}\n{_note(study)}\n"


def suite_figure(study: StudyData, table: pd.DataFrame) -> go.Figure:
    """Retain and forget Dice of every recipe and horizon with their intervals, beside the references."""
    figure = blank(f"<b>{escape(study.name)}</b><br><sup>strategy and epochs; bars: 95 % intervals</sup>")
    references = [name for name in (BASELINE, RETRAINED) if name in study.references]
    names = [f"{row.strategy}, {row.horizon}" for row in table.itertuples()]
    for column, colour, label in (
        ("retain_dice", BLUE, "retain Dice"),
        ("heldout_dice", GREEN, "held-out Dice"),
        ("forget_dice", VERMILLION, "forget Dice"),
    ):
        centre = table[column]
        bare = [0.0] * len(references)
        figure.add_scatter(
            x=[*references, *names],
            y=[*(study.references[name][column] for name in references), *centre],
            error_y={
                "array": [*bare, *(table[f"{column}_high"] - centre)],
                "arrayminus": [*bare, *(centre - table[f"{column}_low"])],
                "width": 5,
            },
            mode="markers",
            marker={"color": colour, "size": 11},
            name=label,
        )
    figure.update_layout(scattermode="group", scattergap=0.7)
    figure.update_yaxes(title="Dice", range=[-0.02, 1.02])
    return figure


def terminal_table(study: StudyData) -> Table:
    """The table as the terminal shows it: means, and the interval of the gap."""
    table = Table(
        caption=_note(study), caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    table.add_column("strategy", no_wrap=True)
    for header in ("ep.", "retain", "forget", "gap [95 %]", "reten\ntion", "held\nout", "retr.\ngap"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in suite_table(study).to_dict("records"):
        means = {name: numbers.metric(row[name]) for name in COLUMNS}
        first = [
            row["strategy"],
            str(row["horizon"]),
            means["retain_dice"],
            means["forget_dice"],
            _cell(row, "dice_gap"),
        ]
        table.add_row(*first, means["retention"], means["heldout_dice"], means["retrain_gap"])
    return table


def _published(point: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(point)
    if known:
        known["dice_gap"] = known["retain_dice"] - known["forget_dice"]
    return {f"published_{name}": known.get(name, np.nan) for name in _PUBLISHED}


def _readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: mean [low, high], and the published point."""

    def published(row: Mapping[str, Any]) -> str:
        values = [row[f"published_{name}"] for name in _PUBLISHED]
        return " / ".join(map(numbers.metric, values)) if np.isfinite(values[0]) else numbers.MISSING

    rows = [
        {"strategy": row["strategy"], "epochs": str(row["horizon"])}
        | {label: _cell(row, name) for label, name in _SHOWN.items()}
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
