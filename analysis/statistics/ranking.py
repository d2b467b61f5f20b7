"""Recipes against each other, over studies and seeds: intervals, and paired tests on the same subjects."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.statistics.bootstrap import Resampling, interval
from analysis.statistics.intervals import values_after, with_bounds
from analysis.statistics.recipes import trials_by_recipe
from analysis.statistics.significance import holm, sign_flip
from study.records.front import best_feasible
from study.records.reading import StudyData
from study.records.trials import RUNNING

_SETS = ("retain", "forget", "heldout")


def entries(studies: Sequence[StudyData]) -> pd.DataFrame:
    """The trials that stand for the recipes: all seeds of a suite's, and the best feasible trial of a search's
    strategy.

    Columns: `recipe` (in a search the strategy), `run` (what is paired: the study's seed and, in a suite, the
    trial's), `study`, `trial`, and one row per `set` and `subject` (a pseudonym) with its `dice`.
    """
    tables = []
    for study in studies:
        trials = trials_by_recipe(study)
        if study.suite:
            rows = trials[trials["status"] != RUNNING].to_dict("records")
        else:
            groups = (group.to_dict("records") for _, group in trials.groupby("recipe", sort=False))
            rows = [row for row in (best_feasible(group, study.objective) for group in groups) if row is not None]
        for row in rows:
            run = f"{study.record['settings']['seed']}" + (f"/{row['seed']}" if study.suite else "")
            values = values_after(study, [row["id"]], int(row["epochs_done"]))
            names = {"recipe": row["recipe"], "run": run, "study": study.name, "trial": row["id"]}
            tables.append(values[["set", "subject", "dice"]].assign(**names))
    columns = ["set", "subject", "dice", "recipe", "run", "study", "trial"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def ranking(values: pd.DataFrame) -> pd.DataFrame:
    """The recipes by their Dice gap, the largest first.

    Args:
        values: as `entries` gives them.

    Returns:
        `rank`, `recipe`, `runs` (behind the row), then `retain_dice`, `forget_dice`, `dice_gap`, each with `_low`
        and `_high`: means with 95 % intervals of the hierarchical bootstrap over runs and subjects.
    """
    rows = []
    for recipe, own in values.groupby("recipe", sort=False):
        draw = Resampling()
        tables = {
            name: own[own["set"] == name].pivot_table("dice", "run", "subject") for name in ("retain", "forget")
        }
        means = {name: draw.means(table.to_numpy(float), "runs", name) for name, table in tables.items()}
        intervals = {
            "retain_dice": interval(means["retain"]),
            "forget_dice": interval(means["forget"]),
            "dice_gap": interval(means["retain"] - means["forget"]),
        }
        rows.append({"recipe": recipe, "runs": own["run"].nunique(), **with_bounds(intervals)})
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    frame = frame.sort_values("dice_gap", ascending=False, ignore_index=True)
    return frame.assign(rank=frame.index + 1)[["rank", *frame.columns]]


def paired_tests(values: pd.DataFrame) -> pd.DataFrame:
    """Sign-flip tests between all pairs of recipes, on the subjects and runs that both have.

    Args:
        values: as `entries` gives them.

    Returns:
        `metric` (`retain_dice`, `forget_dice`, `heldout_dice`), `first`, `second`, `units`, `difference` (first -
        second, mean over units), `p` (two-sided), `p_holm` (corrected over the pairs).
    """
    rows = []
    names = list(values["recipe"].unique())
    for subset in _SETS:
        own = values[values["set"] == subset]
        units = {name: own[own["recipe"] == name].groupby(["run", "subject"])["dice"].mean() for name in names}
        pairs = []
        for first, second in combinations(names, 2):
            difference = (units[first] - units[second]).dropna().to_numpy()
            if len(difference):
                pair = {"metric": f"{subset}_dice", "first": first, "second": second, "units": len(difference)}
                pairs.append(pair | {"difference": float(np.mean(difference)), "p": sign_flip(difference)})
        corrected = holm([pair["p"] for pair in pairs])
        rows += [{**pair, "p_holm": float(p)} for pair, p in zip(pairs, corrected, strict=True)]
    return pd.DataFrame(rows, columns=["metric", "first", "second", "units", "difference", "p", "p_holm"])
