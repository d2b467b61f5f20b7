"""What the pages know of a study: plain columns, as JSON has them."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures.front_data import axes
from analysis.reports.shortfalls import remarks
from analysis.reports.terminal_tables import verdict
from analysis.statistics.plane import hypervolume
from study.records.metrics import shown
from study.records.reading import StudyData
from study.records.rows import TrialRow


def study_payload(study: StudyData, folder: Path) -> dict[str, Any]:
    """Everything that the front's page shows of the study in a folder, but for the figures that the server draws."""
    trials, best = study.trials, study.best
    columns = ["id", "strategy", "status", "feasible", "on_front", "epochs_done", *study.knobs, *axes(study)]
    volumes = running_hypervolume(trials[["feasible", "retain_dice", "forget_dice"]].to_dict("records"))
    return {
        "name": study.name,
        "space": study.space,
        "objective": study.objective.told,
        "forgetting": study.objective.forgetting,
        "constraints": [str(constraint) for constraint in study.constraints],
        "knobs": list(study.knobs),
        "axes": axes(study),
        "shown": shown(study.metrics),
        "columns": {name: list(map(_plain, trials[name].tolist())) for name in columns},
        "folder": str(folder),
        "pictures": [page.parent.name for page in folder.glob("pictures/*/index.html")],
        "best": best.id if best else None,
        "picks": {name: _pick(study, row) for name, row in study.picks.items()},
        "hypervolume": volumes.tolist(),
    }


def running_hypervolume(rows: list[dict[str, Any]]) -> np.ndarray:
    """The hypervolume of the feasible trials, after each trial in the order in which they began."""
    volumes = np.zeros(len(rows))
    retain, forget, volume = np.empty(0), np.empty(0), 0.0
    for place, row in enumerate(rows):
        kept, forgot = row["retain_dice"], row["forget_dice"]
        if row["feasible"] and not ((retain >= kept) & (forget <= forgot)).any():
            beaten = (retain <= kept) & (forget >= forgot)
            retain, forget = np.append(retain[~beaten], kept), np.append(forget[~beaten], forgot)
            volume = hypervolume(retain, forget)
        volumes[place] = volume
    return volumes


def _pick(study: StudyData, row: TrialRow) -> dict[str, Any]:
    """What the page's head says of a pick: its verdict, and what it costs and lacks."""
    said = [f"Evidence: {verdict(row)}. {row.evidence.get('reasons', '')}"] if row.examined else []
    return {"id": row.id, "said": [*said, *remarks(study, row)]}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
