"""The table of a suite: every recipe after every horizon, with intervals over seeds and subjects."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from analysis.statistics.intervals import metric_intervals, values_after, with_bounds
from analysis.statistics.ranking import paired_tests
from study.records.reading import StudyData
from study.records.trials import RUNNING

PUBLISHED = ("retain_dice", "forget_dice", "dice_gap")


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


def _published(point: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(point)
    if known:
        known["dice_gap"] = known["retain_dice"] - known["forget_dice"]
    return {f"published_{name}": known.get(name, np.nan) for name in PUBLISHED}
