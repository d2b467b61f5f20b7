"""Strategies against each other, over studies and seeds: intervals, and paired tests on the same subjects."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd  # type: ignore[import-untyped]

from analysis.statistics.bootstrap import Resampling, interval
from analysis.statistics.intervals import values_after, with_bounds
from analysis.statistics.significance import holm, sign_flip
from study.records.front import best_feasible
from study.records.reading import StudyData
from study.records.trials import RUNNING

_SETS = ("retain", "forget", "heldout")


def entries(studies: Sequence[StudyData]) -> pd.DataFrame:
    """The trials that stand for the strategies: all seeds of a suite's recipes, the best feasible trial of a search.

    Columns: `strategy`, `run` (what is paired: the study's seed and, in a suite, the trial's), `study`, `trial`, and
    one row per `set` and `subject` (a pseudonym) with its `dice`.
    """
    rows = []
    for study in studies:
        if study.suite:
            chosen = study.trials[study.trials["status"] != RUNNING].to_dict("records")
        else:
            grouped = study.trials.groupby("strategy", sort=False)
            found = [best_feasible(group.to_dict("records"), study.objective) for _, group in grouped]
            chosen = [row for row in found if row is not None]
        for row in chosen:
            run = f"{study.record['settings']['seed']}" + (f"/{row['seed']}" if study.suite else "")
            values = values_after(study, [row["id"]], int(row["epochs_done"]))
            name = {"strategy": row["strategy"], "run": run, "study": study.name, "trial": row["id"]}
            rows.append(values[["set", "subject", "dice"]].assign(**name))
    columns = ["set", "subject", "dice", "strategy", "run", "study", "trial"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def ranking(chosen: pd.DataFrame) -> pd.DataFrame:
    """The strategies by their Dice gap, the largest first.

    Args:
        chosen: as `entries` gives them.

    Returns:
        `rank`, `strategy`, `runs` (behind the row), then `retain_dice`, `forget_dice`, `dice_gap`, each with `_low`
        and `_high`: means with 95 % intervals of the hierarchical bootstrap over runs and subjects.
    """
    rows = []
    for strategy, own in chosen.groupby("strategy", sort=False):
        draw = Resampling()
        tables = {
            name: own[own["set"] == name].pivot_table("dice", "run", "subject") for name in ("retain", "forget")
        }
        means = {name: draw.means(table.to_numpy(float), "runs", name) for name, table in tables.items()}
        found = {
            "retain_dice": interval(means["retain"]),
            "forget_dice": interval(means["forget"]),
            "dice_gap": interval(means["retain"] - means["forget"]),
        }
        rows.append({"strategy": strategy, "runs": own["run"].nunique(), **with_bounds(found)})
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    frame = frame.sort_values("dice_gap", ascending=False, ignore_index=True)
    return frame.assign(rank=frame.index + 1)[["rank", *frame.columns]]


def paired_tests(chosen: pd.DataFrame) -> pd.DataFrame:
    """Sign-flip tests between all pairs of strategies, on the subjects and runs that both have.

    Args:
        chosen: as `entries` gives them.

    Returns:
        `metric` (`retain_dice`, `forget_dice`, `heldout_dice`), `first`, `second`, `units`, `difference` (first -
        second, mean over units), `p` (two-sided), `p_holm` (corrected over the pairs).
    """
    rows = []
    names = list(chosen["strategy"].unique())
    for subset in _SETS:
        own = chosen[chosen["set"] == subset]
        units = {name: own[own["strategy"] == name].groupby(["run", "subject"])["dice"].mean() for name in names}
        pairs = []
        for first, second in combinations(names, 2):
            difference = (units[first] - units[second]).dropna().to_numpy()
            if len(difference):
                pair = {"metric": f"{subset}_dice", "first": first, "second": second, "units": len(difference)}
                pairs.append(pair | {"difference": float(np.mean(difference)), "p": sign_flip(difference)})
        corrected = holm([pair["p"] for pair in pairs])
        rows += [{**pair, "p_holm": float(p)} for pair, p in zip(pairs, corrected, strict=True)]
    return pd.DataFrame(rows, columns=["metric", "first", "second", "units", "difference", "p", "p_holm"])
