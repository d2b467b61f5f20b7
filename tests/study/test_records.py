import hashlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from study import records
from study.records import (
    METRICS,
    Table,
    TrialConfig,
    digest_of,
    history_table,
    replace_file,
    trials_table,
    write_json,
)

KNOBS = {"lr": float, "epochs": int, "norm": str, "resample": bool}
COLUMNS = trials_table(Path("nowhere"), KNOBS).schema.names
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(records.__file__).parents[1])}

# Upserts epochs for ever, or as many as it is told; epoch e holds loss e.
WRITER = """
import sys
from itertools import count
from pathlib import Path
from study.records import METRICS, history_table
table = history_table(Path(sys.argv[1]))
start = len(table.rows)
for number in count(1) if len(sys.argv) == 2 else range(1, int(sys.argv[2]) + 1):
    epoch = start + number
    table.upsert([{"id": "t", "epoch": epoch, **dict.fromkeys(METRICS, 0.5), "loss": float(epoch), "seconds": 1.0}])
    print(epoch, flush=True)
"""


def writer(folder, *arguments):
    command = [sys.executable, "-c", WRITER, str(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def trial_row(name, **values):
    knobs = {"lr": 1e-3, "epochs": 5, "norm": "batch", "resample": False}
    marks = {"feasible": True, "on_front": False, "diverged": False}
    outcome = {"epochs_done": 5, "seconds": 2.5, "status": "finished"}
    row = {**dict.fromkeys(COLUMNS), "id": name, "strategy": "s", "seed": 3, **knobs, **dict.fromkeys(METRICS, 0.25)}
    return {**row, **marks, **outcome, **values}


def epoch_row(trial, epoch, loss=1.0):
    return {"id": trial, "epoch": epoch, **dict.fromkeys(METRICS, 0.5), "loss": loss, "seconds": 1.0}


def test_rows_come_back_as_they_were_written(tmp_path):
    running = {name: None for name in (*METRICS, "feasible", "on_front", "diverged")}
    rows = [
        trial_row("a", lr=0.1 + 0.2, epochs=2**40, norm="Größe", resample=True),
        trial_row("b", **running, epochs_done=0, seconds=0.0, status="running"),
    ]
    trials_table(tmp_path, KNOBS).upsert(rows)
    assert trials_table(tmp_path, KNOBS).rows == rows
    assert [file.name for file in tmp_path.iterdir()] == ["trials.parquet"]


def test_nan_stays_apart_from_what_is_not_there_yet(tmp_path):
    trials_table(tmp_path, KNOBS).upsert([trial_row("a", retain_dice=math.nan, forget_dice=None)])
    (row,) = trials_table(tmp_path, KNOBS).rows
    assert math.isnan(row["retain_dice"])
    assert row["forget_dice"] is None


def test_rows_are_keyed_and_keep_their_first_place(tmp_path):
    table = history_table(tmp_path)
    table.upsert([epoch_row("a", 1), epoch_row("b", 1)])
    table.upsert([epoch_row("a", 2)])
    table.upsert([epoch_row("b", 1, loss=7.0), epoch_row("a", 1, loss=8.0)])
    for found in (table, history_table(tmp_path)):
        keyed = [(row["id"], row["epoch"], row["loss"]) for row in found.rows]
        assert keyed == [("a", 1, 8.0), ("b", 1, 7.0), ("a", 2, 1.0)]


def test_pandas_reads_typed_columns(tmp_path):
    trials_table(tmp_path, KNOBS).upsert([trial_row("a"), trial_row("b", status="running")])
    history_table(tmp_path).upsert([epoch_row("a", 1)])
    trials, history = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("trials", "history"))
    marks = ["feasible", "on_front", "diverged"]
    outcome = ["epochs_done", "seconds", "status"]
    expected = ["id", "strategy", "seed", *KNOBS, *METRICS, *marks, *outcome]
    assert list(trials.columns)[: len(expected)] == expected
    assert list(history.columns) == ["id", "epoch", *METRICS, "loss", "seconds"]
    assert {str(trials[name].dtype) for name in ("lr", *METRICS, "seconds")} == {"float64"}
    assert {str(trials[name].dtype) for name in ("seed", "epochs", "epochs_done")} == {"int64"}
    assert {str(trials[name].dtype) for name in ("resample", *marks)} == {"bool"}
    assert trials.set_index("id").loc["b", "status"] == "running"


def test_a_value_of_a_wrong_type_is_refused_and_the_file_stays(tmp_path):
    trials_table(tmp_path, KNOBS).upsert([trial_row("a")])
    with pytest.raises((TypeError, ValueError)):
        trials_table(tmp_path, KNOBS).upsert([trial_row("b", lr="fast")])
    assert [row["id"] for row in trials_table(tmp_path, KNOBS).rows] == ["a"]


def rows_of_the_table(path):
    return history_table(path.parent).rows


def rows_in_the_bytes(path):
    return pd.read_parquet(io.BytesIO(path.read_bytes())).to_dict("records")


@pytest.mark.parametrize("read", [rows_of_the_table, rows_in_the_bytes])
def test_a_reader_in_another_process_never_sees_a_broken_file(read, tmp_path):
    process, sizes = writer(tmp_path, "250"), []
    while process.poll() is None:
        if (tmp_path / "history.parquet").exists():
            losses = [row["loss"] for row in read(tmp_path / "history.parquet")]
            assert losses == [float(epoch) for epoch in range(1, len(losses) + 1)]
            sizes.append(len(losses))
    assert process.communicate()[0].split()[-1] == "250"
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 20, "the reader saw too little of the writing"


def test_a_writer_killed_at_any_moment_leaves_all_that_it_had_reported(tmp_path):
    for round_ in range(4):
        process = writer(tmp_path)
        process.stdout.readline()
        time.sleep(0.004 * round_)
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.communicate()[0].split()]
        losses = [row["loss"] for row in history_table(tmp_path).rows]
        assert losses == [float(epoch) for epoch in range(1, len(losses) + 1)]
        assert len(losses) >= max(reported, default=round_ + 1)
    history_table(tmp_path).upsert([epoch_row("t", len(losses) + 1)])
    assert [file.name for file in tmp_path.iterdir()] == ["history.parquet"]


def test_a_process_that_dies_in_the_middle_of_a_write_changes_nothing(tmp_path):
    write_json(tmp_path / "study.json", {"trials": 1})
    code = (
        "import os, sys; from pathlib import Path; from study.records import replace_file\n"
        "replace_file(Path(sys.argv[1]), lambda path: (path.write_text('{\"tri'), os.kill(os.getpid(), 9)))"
    )
    died = subprocess.run([sys.executable, "-c", code, tmp_path / "study.json"], env=ENVIRONMENT, check=False)
    assert died.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "study.json").read_text()) == {"trials": 1}
    replace_file(tmp_path / "study.json", lambda path: path.write_text("{}"))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("study.json", "{}")]


def test_a_digest_is_the_hash_of_canonical_json():
    expected = hashlib.sha256(b'{"a":[1,2.5,"x"],"b":{"c":null,"d":true}}').hexdigest()[:12]
    assert digest_of({"b": {"d": True, "c": None}, "a": (1, 2.5, "x")}) == expected
    assert digest_of({"a": [1, 2.5, "x"], "b": {"c": None, "d": True}}) == expected
    assert len({digest_of(value) for value in (1, 1.0, "1", [1], True, None, 1.0000000000000002)}) == 7


CONFIG = TrialConfig("noisy_label", {"lr": 1e-3, "epochs": 5}, 0, "b" * 12)


@pytest.mark.parametrize(
    "other",
    [
        TrialConfig("max_loss", CONFIG.knobs, 0, CONFIG.baseline),
        TrialConfig("noisy_label", {"lr": 1e-3, "epochs": 6}, 0, CONFIG.baseline),
        TrialConfig("noisy_label", {"lr": 1e-3}, 0, CONFIG.baseline),
        TrialConfig("noisy_label", CONFIG.knobs, 1, CONFIG.baseline),
        TrialConfig("noisy_label", CONFIG.knobs, 0, "c" * 12),
    ],
)
def test_every_part_of_a_configuration_counts_in_its_signature(other):
    assert other.signature != CONFIG.signature
    assert TrialConfig("noisy_label", {"epochs": 5, "lr": 1e-3}, 0, CONFIG.baseline).signature == CONFIG.signature


def test_a_signature_survives_the_table(tmp_path):
    knobs = {"lr": 0.0012345678901234567, "epochs": 7, "norm": "batch", "resample": True}
    trials_table(tmp_path, KNOBS).upsert([trial_row("a", **knobs)])
    (row,) = trials_table(tmp_path, KNOBS).rows
    stored = {name: row[name] for name in KNOBS}
    assert TrialConfig("s", stored, 0, "b").signature == TrialConfig("s", knobs, 0, "b").signature


def test_a_damaged_table_is_not_taken_for_an_empty_one(tmp_path):
    history_table(tmp_path).upsert([epoch_row("a", 1)])
    path = tmp_path / "history.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises((OSError, ValueError)):
        Table(path, history_table(tmp_path / "new").schema, ("id", "epoch"))
