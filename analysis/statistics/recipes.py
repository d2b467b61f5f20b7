"""Recipes against each other, over studies and seeds: intervals, and tests on networks of the same seed.

A suite has recipes; in a search a strategy is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.statistics.intervals import Interval, Jackknife, crossed, metric_intervals, values_after, with_bounds
from analysis.statistics.price import price_of
from analysis.statistics.significance import holm, sign_flip, smallest_p
from study.records.front import best_feasible
from study.records.metrics import METRICS, SETS, MetricTable, names_of_scans, shown
from study.records.reading import StudyData
from study.records.rows import TrialRow
from study.records.study_record import Entry
from study.records.trials import RUNNING

BESIDE = ("forget_dice_views", "heldout_retention", "residual_memory")
"""Metrics of a suite's table that are means of the trials' own, without an interval."""

PUBLISHED = ("retain_dice", "forget_dice", "dice_gap")
"""What is known of a published result."""

_KEYS = ("set", "subject", "recipe", "run", "study", "trial")


def recipes(study: StudyData) -> dict[str, Entry]:
    """Label -> recipe, in the suite's order.

    The label is the strategy; where a suite has several recipes of it, the knobs in which they differ follow.
    """
    labels = {}
    for entry in study.suite.entries:
        knobs = entry.knobs
        rivals = [other.knobs for other in study.suite.entries if other.strategy == entry.strategy]
        differing = [name for name in knobs if any(other.get(name) != knobs[name] for other in rivals)]
        labels[", ".join([entry.strategy, *(f"{name} {knobs[name]}" for name in differing)])] = entry
    return labels


def trials_by_recipe(study: StudyData) -> pd.DataFrame:
    """The trials with their `recipe`: the label in a suite, and in a search the strategy."""
    labels = recipes(study)
    names = [_recipe_of(row, labels) for row in study.rows]
    return study.trials.assign(recipe=pd.Series(names, study.trials.index, object))


def _recipe_of(row: TrialRow, labels: Mapping[str, Entry]) -> str:
    """The recipe that a trial has all knobs of; of several the one with the most, as it may lack what others have."""
    matching = {
        label: len(entry.knobs)
        for label, entry in labels.items()
        if entry.strategy == row.strategy and entry.knobs.items() <= row.knobs.items()
    }
    return max(matching, key=matching.__getitem__, default=row.strategy)


def entries(studies: Sequence[StudyData]) -> pd.DataFrame:
    """The trials that stand for the recipes: all of a suite's, and the best feasible one of a search's strategy.

    Columns: `set`, `subject` (a pseudonym), one for each metric of a scan that is compared (`dice`, and what all the
    studies have added), `recipe`, `run` (what is paired: the study's seed and, in a suite, the trial's), `study`,
    `trial`.
    """
    columns, tables = ["set", "subject", *_compared(studies)], []
    for study in studies:
        labels = recipes(study)
        if labels:
            rows = [row for row in study.rows if row.status != RUNNING]
        else:
            groups: dict[str, list[TrialRow]] = {}
            for row in study.rows:
                groups.setdefault(row.strategy, []).append(row)
            rows = [best for group in groups.values() if (best := best_feasible(group, study.objective))]
        for row in rows:
            run = f"{study.settings.seed}" + (f"/{row.seed}" if labels else "")
            values = values_after(study, [row.id], row.epochs_done)
            names = {"recipe": _recipe_of(row, labels), "run": run, "study": study.name, "trial": row.id}
            tables.append(values[columns].assign(**names))
    nothing = pd.DataFrame(columns=[*columns, "recipe", "run", "study", "trial"])
    return pd.concat(tables, ignore_index=True) if tables else nothing


def ranking(values: pd.DataFrame, metrics: MetricTable = METRICS) -> pd.DataFrame:
    """The recipes by their Dice gap, the largest first.

    Args:
        values: as `entries` gives them.
        metrics: whose ranges the intervals keep to.

    Returns:
        `rank`, `recipe`, `runs` (behind the row), then the metrics of the retain and the forget subjects and
        `dice_gap`, each with `_low` and `_high`: means with 95 % intervals over runs and subjects.
    """
    compared, rows = [name for name in values if name not in _KEYS], []
    people = {subset: values.loc[values["set"] == subset, "subject"].unique() for subset in ("retain", "forget")}
    for recipe, own in values.groupby("recipe", sort=False):
        runs, means = own["run"].unique(), {}
        jackknife = Jackknife({"runs": len(runs)}, {subset: len(labels) for subset, labels in people.items()})
        for metric in compared:
            for subset, labels in people.items():
                table = crossed(own[own["set"] == subset], metric, "run", runs, labels)
                means[f"{subset}_{metric}"] = jackknife.means(table, "runs", subset)
        means["dice_gap"] = means["retain_dice"] - means["forget_dice"]
        ranges = {name: (metrics[name].low, metrics[name].high) for name in means if name in metrics}
        bounds = {name: jackknife.interval(found, *ranges.get(name, ())) for name, found in means.items()}
        rows.append({"recipe": recipe, "runs": len(runs), **with_bounds(bounds)})
    frame = pd.DataFrame(rows)
    if frame.empty:
        return frame
    frame = frame.sort_values("dice_gap", ascending=False, ignore_index=True)
    return frame.assign(rank=frame.index + 1)[["rank", *frame.columns]]


def paired_tests(values: pd.DataFrame) -> pd.DataFrame:
    """Sign-flip tests between all pairs of recipes: a unit is a run, its difference the mean over subjects.

    Args:
        values: as `entries` gives them.

    Returns:
        `metric` (`retain_dice`, `forget_dice`, `heldout_dice`, ...), `first`, `second`, `runs` (that both have),
        `difference` (first - second, mean over runs of the subjects that both have), `p` (two-sided), `p_holm`
        (corrected over the pairs), `smallest_p` (the least that so many runs can give, before the correction).
    """
    rows, names = [], list(values["recipe"].unique())
    for metric in (name for name in values if name not in _KEYS):
        for subset in SETS:
            own = values[values["set"] == subset]
            of = {name: own[own["recipe"] == name].groupby(["run", "subject"])[metric].mean() for name in names}
            pairs = []
            for first, second in combinations(names, 2):
                differences = (of[first] - of[second]).dropna().groupby("run").mean().to_numpy()
                if runs := len(differences):
                    pair = {"metric": f"{subset}_{metric}", "first": first, "second": second, "runs": runs}
                    pair |= {"difference": float(np.mean(differences)), "p": sign_flip(differences)}
                    pairs.append(pair | {"smallest_p": smallest_p(runs)})
            corrected = holm([pair["p"] for pair in pairs])
            rows += [{**pair, "p_holm": float(p)} for pair, p in zip(pairs, corrected, strict=True)]
    columns = ["metric", "first", "second", "runs", "difference", "p", "p_holm", "smallest_p"]
    return pd.DataFrame(rows, columns=columns)


def suite_table(study: StudyData) -> pd.DataFrame:
    """One row per recipe and horizon, in the suite's order.

    Columns: `recipe` (its label), `strategy`, `horizon` (epochs), the metrics of `metric_intervals` with their `_low`
    and `_high`, `BESIDE` (those that the study has), `price` (seconds as a share of those that retraining takes to
    the same Dice; NaN where it never was as good), `seeds` (trials behind the row), `diverged` (those that ended
    before the horizon; their last epoch counts), `published_*` where known.
    """
    rows = []
    trials = trials_by_recipe(study)
    for label, entry in recipes(study).items():
        ended = trials[(trials["recipe"] == label) & (trials["status"] != RUNNING)]
        for horizon in study.suite.horizons:
            values = values_after(study, list(ended["id"]), horizon)
            if values.empty:
                continue
            bounds, point = metric_intervals(study, values), entry.published.get(horizon)
            published = {**asdict(point), "dice_gap": point.retain_dice - point.forget_dice} if point else {}
            rows.append(
                {"recipe": label, "strategy": entry.strategy, "horizon": horizon}
                | with_bounds(bounds)
                | _beside(study, list(ended["id"]), horizon, bounds)
                | {"seeds": values["id"].nunique()}
                | {"diverged": int(ended["epochs_done"].between(1, horizon - 1).sum())}
                | {f"published_{name}": published.get(name, np.nan) for name in PUBLISHED}
            )
    return pd.DataFrame(rows)


def _beside(study: StudyData, ids: list[str], horizon: int, bounds: Mapping[str, Interval]) -> dict[str, float]:
    """The means of `BESIDE` after the horizon, and the price."""
    history = study.history[study.history["id"].isin(ids) & (study.history["epoch"] <= horizon)]
    last = history[history["epoch"] == history.groupby("id")["epoch"].transform("max")]
    seconds = float(history.groupby("id")["seconds"].sum().mean())
    cost = price_of(study, seconds, bounds["retain_dice"].mean, bounds["heldout_dice"].mean)
    means = {name: float(last[name].mean()) for name in BESIDE if name in study.metrics}
    return {**means, "price": np.nan if cost is None or cost.epochs is None else cost.share}


def suite_tests(study: StudyData) -> pd.DataFrame:
    """`paired_tests` of a suite's recipes after each `horizon`, the first column; a run is a seed."""
    order = {label: place for place, label in enumerate(recipes(study))}
    trials = trials_by_recipe(study).rename(columns={"seed": "run"})
    ended = trials[trials["status"] != RUNNING]
    ended = ended.sort_values("recipe", key=lambda labels: labels.map(order), kind="stable")
    by_horizon = []
    for horizon in study.suite.horizons:
        values = values_after(study, list(ended["id"]), horizon)[["id", "set", "subject", *_compared([study])]]
        tests = paired_tests(ended[["id", "recipe", "run"]].merge(values, on="id").drop(columns="id"))
        by_horizon.append(tests.assign(horizon=horizon))
    tests = pd.concat(by_horizon, ignore_index=True)
    return tests[["horizon", *(name for name in tests.columns if name != "horizon")]]


def _compared(studies: Sequence[StudyData]) -> list[str]:
    """The metrics of a scan that recipes are compared by: the Dice, and those that all of the studies have added."""
    names = [names_of_scans({name: study.metrics[name] for name in shown(study.metrics)}) for study in studies]
    return [name for name in names[0] if all(name in others for others in names)] if names else ["dice"]
