"""The table of a suite: every recipe after every horizon, with intervals over seeds and subjects."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.intervals import metric_intervals, values_after, with_bounds
from analysis.statistics.ranking import paired_tests
from analysis.statistics.recipes import recipes, trials_by_recipe
from study.records.reading import StudyData
from study.records.trials import RUNNING

PUBLISHED = ("retain_dice", "forget_dice", "dice_gap")
"""What is known of a published result."""


def suite_table(study: StudyData) -> pd.DataFrame:
    """One row per recipe and horizon, in the suite's order.

    Columns: `recipe` (its label), `strategy`, `horizon` (epochs), the metrics of `metric_intervals` with their `_low`
    and `_high`, `seeds` (trials behind the row), `diverged` (those that ended before the horizon; their last epoch
    counts), `published_*` where known.
    """
    rows = []
    trials = trials_by_recipe(study)
    for label, entry in recipes(study).items():
        ended = trials[(trials["recipe"] == label) & (trials["status"] != RUNNING)]
        for horizon in study.suite["horizons"]:
            values = values_after(study, list(ended["id"]), horizon)
            if values.empty:
                continue
            counts = {
                "seeds": values["id"].nunique(),
                "diverged": int(ended["epochs_done"].between(1, horizon - 1).sum()),
            }
            rows.append(
                {"recipe": label, "strategy": entry["strategy"], "horizon": horizon}
                | with_bounds(metric_intervals(study, values))
                | counts
                | _published(entry["published"].get(str(horizon), {}))
            )
    return pd.DataFrame(rows)


def suite_tests(study: StudyData) -> pd.DataFrame:
    """Sign-flip tests between all pairs of recipes, on the same subjects and seeds (SCIENCE: the unit is both).

    Columns: `horizon`, `metric` (`retain_dice`, `forget_dice`, `heldout_dice`), `first`, `second` (labels), `units`,
    `difference` (first - second, mean over units), `p` (two-sided), `p_holm` (corrected over the pairs).
    """
    order = {label: place for place, label in enumerate(recipes(study))}
    trials = trials_by_recipe(study).rename(columns={"seed": "run"})
    ended = trials[trials["status"] != RUNNING]
    ended = ended.sort_values("recipe", key=lambda labels: labels.map(order), kind="stable")
    by_horizon = []
    for horizon in study.suite["horizons"]:
        values = values_after(study, list(ended["id"]), horizon)
        tests = paired_tests(ended[["id", "recipe", "run"]].merge(values, on="id"))
        by_horizon.append(tests.assign(horizon=horizon))
    tests = pd.concat(by_horizon, ignore_index=True)
    return tests[["horizon", *(name for name in tests.columns if name != "horizon")]]


def _published(point: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(point)
    if known:
        known["dice_gap"] = known["retain_dice"] - known["forget_dice"]
    return {f"published_{name}": known.get(name, np.nan) for name in PUBLISHED}
