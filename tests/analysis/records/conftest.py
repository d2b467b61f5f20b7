"""A small suite with two recipes and a search, written through study.records.tables as a study writes them."""

import json
from pathlib import Path

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json

from study.records.constraints import parse
from study.records.evidence import EVIDENCE
from study.records.files import write_json
from study.records.front import mark
from study.records.metrics import METRICS
from study.records.objectives import OBJECTIVES
from study.records.reading import load_study
from study.records.rows import TrialRow
from study.records.settings import StudySettings
from study.records.study_record import read_record
from study.records.tables import (
    history_table,
    references_table,
    requests_table,
    study_tables,
    subjects_table,
    trials_table,
)

KNOBS = {"lr": float, "noise_rate": float, "epochs": int}
SETS = {"retain": ("r1", "r2", "r3"), "forget": ("f1", "f2"), "heldout": ("h1", "h2")}
LEVELS = {"retain": 0.85, "forget": 0.3, "heldout": 0.6}
TRIALS = (  # id, strategy, seed, status, epochs done
    ("n0", "noisy_label", 0, "finished", 4),
    ("m0", "max_loss", 0, "finished", 4),
    ("n1", "noisy_label", 1, "finished", 4),
    ("m1", "max_loss", 1, "finished", 3),  # diverged
    ("n2", "noisy_label", 2, "finished", 4),
    ("m2", "max_loss", 2, "running", 2),
)
REFERENCES = ("baseline", "retrained", "retrained-1")
RECORD = {
    "name": "suite-phantom",
    "space": "paper",
    "settings": StudySettings(space="paper", horizons="2,4").plain(),
    "knobs": {name: kind.__name__ for name, kind in KNOBS.items()},
    "domains": {},
    "planned": 6,
    "constraints": ["retention>=0.9", "seconds<=600"],
    "references": {
        "baseline": {"digest": "b", "seed": 0, "retain_dice": 0.88, "forget_dice": 0.87, "heldout_dice": 0.62},
        "retrained": {"digest": "r", "seed": 0, "retain_dice": 0.86, "forget_dice": 0.61, "heldout_dice": 0.6},
    },
    "suite": {
        "horizons": [2, 4],
        "seeds": 3,
        "entries": [
            {
                "strategy": "noisy_label",
                "knobs": {},
                "published": {"4": {"retain_dice": 0.7576, "forget_dice": 0.0613, "source": "arXiv"}},
            },
            {"strategy": "max_loss", "knobs": {}, "published": {}},
        ],
    },
    "selection": {
        "steering_references": [],
        "report_references": ["retrained", "retrained-1"],
        "steering_heldout": [],
        "report_heldout": ["h1", "h2"],
        "warnings": [],
    },
    "split": {name: list(subjects) for name, subjects in SETS.items()} | {"steering": []},
    "cohort": {
        "digest": "c0ffee",
        "scans": 7,
        "shape": [48, 240, 240],
        "spacing_mm": [3.0, 0.958, 0.958],
        "classes": ["background", "tissue", "lesion"],
    },
    "published": {},
    "versions": {"torch": "2"},
    "commit": "abc",
}


def subject_rows():
    rng = np.random.default_rng(0)
    networks = [(id, epoch, 0.01 * epoch) for id, *_, done in TRIALS for epoch in sorted({2, done})]
    networks += [(id, 60, 0.0) for id in REFERENCES]
    for id, epoch, gain in networks:
        for subset, subjects in SETS.items():
            for subject in subjects:
                level = LEVELS[subset] if id not in REFERENCES else 0.87 if id == "baseline" else 0.62
                dice = float(np.clip(level + gain + rng.normal(0, 0.05), 0, 1))
                mae = float(0.3 - dice / 4 + rng.normal(0, 0.01))
                yield {"id": id, "epoch": epoch, "set": subset, "subject": subject, "dice": dice, "mae": mae}


def trial_rows(folder):
    empty = dict.fromkeys(trials_table(folder, KNOBS).schema.names)
    for id, strategy, seed, status, done in TRIALS:
        row = {**empty, "id": id, "strategy": strategy, "seed": seed, "lr": 1e-3, "epochs": 4, "status": status}
        row |= {"epochs_done": done, "seconds": 1.0, **dict.fromkeys(METRICS, 0.5)}
        row |= {"feasible": id == "n0", "on_front": id == "n0", "diverged": id == "m1"}
        yield row | ({"noise_rate": 0.9} if strategy == "noisy_label" else {})


@pytest.fixture
def values():
    """(id, epoch, subject) -> Dice and mean absolute error."""
    return {(row["id"], row["epoch"], row["subject"]): (row["dice"], row["mae"]) for row in subject_rows()}


@pytest.fixture
def record():
    return RECORD


@pytest.fixture
def suite_folder(tmp_path):
    """Writes the study; `change` alters a subject row, `trial` a trial row, keywords study.json."""

    def write(change=lambda row: row, trial=lambda row: row, requests=(), **record) -> Path:
        folder = tmp_path / "study"
        folder.mkdir(exist_ok=True)
        write_json(folder / "study.json", RECORD | record)
        tables = study_tables(folder, read_record(folder))
        tables["trials"].upsert(trial(row) for row in trial_rows(folder))
        subjects_table(folder).upsert(change(row) for row in subject_rows())
        table = tables["references"]
        empty = dict.fromkeys(table.schema.names)
        table.upsert({**empty, "id": name, "digest": name, "seed": 0, "forget_dice": 0.6} for name in REFERENCES)
        if requests:
            requests_table(folder).upsert(requests)
        return folder

    return write


@pytest.fixture
def suite_study(suite_folder):
    return lambda *given, **changes: load_study(suite_folder(*given, **changes))


@pytest.fixture
def found():
    """Evidence of a network that was examined."""
    evidence = dict.fromkeys(EVIDENCE, 0.5) | {"remembers": False, "over_forgets": True, "streisand": False}
    return evidence | {"evidence": "0a1b2c", "relearn_steps": float("inf"), "lira_auc": None, "lira_auc_low": None}


DOMAINS = {
    "lr": FloatDistribution(1e-4, 1e-2, log=True),
    "noise_rate": FloatDistribution(0.6, 1.0),
    "epochs": IntDistribution(2, 12),
}
SEARCH = RECORD | {
    "space": "noisy_label",
    "settings": StudySettings(space="noisy_label", trials=14, seed=5).plain(),
    "domains": {name: json.loads(distribution_to_json(domain)) for name, domain in DOMAINS.items()},
    "suite": {},
}
SPREAD = {"retain": (0.02, 0.0, -0.02), "forget": (0.03, -0.03), "heldout": (0.01, -0.01)}
"""How far the subjects of a set lie from its mean."""


def searched(points):
    """A row for each point of the plane; without any, noise costs retain Dice and takes eight times as much."""
    rng = np.random.default_rng(1)
    for number in range(len(points) if points else 14):
        noise, lr, epochs = float(rng.random()), float(10 ** rng.uniform(-4, -2)), int(rng.integers(2, 13))
        retain, forget = points[number] if points else (0.86 - 0.1 * noise, 0.9 - 0.8 * noise)
        row = {"id": f"t{number}", "strategy": "noisy_label", "seed": 5, "lr": lr, "noise_rate": 0.6 + 0.4 * noise}
        row |= {"retain_dice": retain, "forget_dice": forget, "heldout_dice": 0.6, "dice_gap": retain - forget}
        row |= {"retention": retain / 0.88, "retrain_gap": abs(forget - 0.61), "unseen_gap": abs(forget - 0.6)}
        row |= {"retain_mae": 0.1, "forget_mae": 0.3, "heldout_mae": 0.2, "mae_gap": 0.2, "diverged": False}
        yield row | {"epochs": epochs, "epochs_done": epochs, "seconds": 10.0 + number, "status": "finished"}


@pytest.fixture
def search_folder(tmp_path):
    """Writes a search to studies/<name>; `trial` alters a finished row, keywords study.json."""

    def write(name="search", points=(), trial=lambda row: row, running=0, requests=(), **record) -> Path:
        folder, constraint = tmp_path / "studies" / name, [parse("retention>=0.9")]
        folder.mkdir(parents=True)
        write_json(folder / "study.json", SEARCH | {"name": name, **record})
        table = trials_table(folder, KNOBS)
        empty, record = dict.fromkeys(table.schema.names), read_record(folder)
        rows = [TrialRow.of({**empty, **trial(row)}, record) for row in searched(points)]
        rows = mark(rows, constraint, OBJECTIVES["gap"])
        history, subjects = [], [row for row in subject_rows() if row["id"] in REFERENCES]
        for row in rows:
            for epoch in range(1, row.epochs_done + 1):
                history.append({"id": row.id, "epoch": epoch, **row.metrics, "loss": 1.0, "seconds": 0.5})
            subjects += [
                {"id": row.id, "epoch": row.epochs_done, "set": subset, "subject": subject}
                | {"dice": row.metric(f"{subset}_dice") + SPREAD[subset][place], "mae": row.metric(f"{subset}_mae")}
                for subset, names in SETS.items()
                for place, subject in enumerate(names)
            ]
        rows += [
            TrialRow(id=f"r{number}", strategy="noisy_label", seed=5, knobs={"lr": 1e-3, "epochs": 9})
            for number in range(running)
        ]
        table.upsert(row.flat() for row in rows)
        history_table(folder).upsert(history)
        subjects_table(folder).upsert(subjects)
        references = references_table(folder)
        unknown = dict.fromkeys(references.schema.names)
        references.upsert({**unknown, "id": one, "digest": one, "seed": 0, "forget_dice": 0.6} for one in REFERENCES)
        if requests:
            requests_table(folder).upsert(requests)
        return folder

    return write
