"""The recipes of a suite, and which of them a trial belongs to."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from study.records.reading import StudyData

Entry = Mapping[str, Any]
"""Of `suite.entries` in study.json: `strategy`, `knobs`, `published`."""


def recipes(study: StudyData) -> dict[str, Entry]:
    """Label -> recipe, in the suite's order.

    The label is the strategy; where a suite has several recipes of it, the knobs in which they differ follow.
    """
    entries = study.suite["entries"]
    return {_label(entry, entries): entry for entry in entries}


def trials_by_recipe(study: StudyData) -> pd.DataFrame:
    """The trials with their `recipe`: the label in a suite, and in a search the strategy."""
    labels = recipes(study) if study.suite else {}
    names = [_recipe_of(row, labels) for row in study.trials.to_dict("records")]
    return study.trials.assign(recipe=pd.Series(names, study.trials.index, object))


def _label(entry: Entry, entries: Sequence[Entry]) -> str:
    knobs, rivals = entry["knobs"], [other for other in entries if other["strategy"] == entry["strategy"]]
    differing = [name for name in knobs if any(other["knobs"].get(name) != knobs[name] for other in rivals)]
    return ", ".join([entry["strategy"], *(f"{name} {knobs[name]}" for name in differing)])


def _recipe_of(row: Mapping[str, Any], labels: Mapping[str, Entry]) -> str:
    """The recipe that a trial has all knobs of; of several the one with the most, as it may lack what others have."""
    matching = {
        label: len(entry["knobs"])
        for label, entry in labels.items()
        if entry["strategy"] == row["strategy"]
        and all(row.get(name) == value for name, value in entry["knobs"].items())
    }
    return max(matching, key=matching.__getitem__, default=row["strategy"])
