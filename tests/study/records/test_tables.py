import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.records import table as module
from study.records.failure import StudyError
from study.records.metrics import METRICS
from study.records.table import JOURNAL, Table
from study.records.tables import history_table, subjects_table, trials_table
from study.records.trials import TrialConfig

KNOBS = {"lr": float, "epochs": int, "norm": str, "resample": bool}
COLUMNS = trials_table(Path("nowhere"), KNOBS).schema.names
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(module.__file__).parents[2])}
HEAD = """
import sys
from itertools import count
from pathlib import Path
from study.records import table as module
from study.records.metrics import METRICS
from study.records.tables import history_table
folder, rows, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
module._JOURNAL_ROWS = rows or module._JOURNAL_ROWS
table = history_table(folder)
def row(epoch, trial="t"):
    return {"id": trial, "epoch": epoch, **dict.fromkeys(METRICS, 0.5), "loss": float(epoch), "seconds": 1.0}
"""

# Upserts epoch e with loss e, in turn with a second trial's only epoch, and says so when it has returned.
WRITER = """
start = len(table.rows)
for epoch in count(max(start, 1)):
    table.upsert([row(epoch)])
    table.upsert([{**row(1, "other"), "loss": float(epoch)}])
    print(epoch, flush=True)
    if epoch % int(words[0]) == 0:
        table.merge()
"""


def child(code, folder, *words, rows=0, before=()):
    command = [*before, sys.executable, "-c", HEAD + code, str(folder), str(rows), *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


def trial_row(name, **values):
    knobs = {"lr": 1e-3, "epochs": 5, "norm": "batch", "resample": False}
    marks = {"feasible": True, "on_front": False, "diverged": False}
    outcome = {"epochs_done": 5, "seconds": 2.5, "status": "finished"}
    row = {**dict.fromkeys(COLUMNS), "id": name, "strategy": "s", "seed": 3, **knobs, **dict.fromkeys(METRICS, 0.25)}
    return {**row, **marks, **outcome, **values}


def epoch_row(trial, epoch, loss=1.0):
    return {"id": trial, "epoch": epoch, **dict.fromkeys(METRICS, 0.5), "loss": loss, "seconds": 1.0, "node": None}


def keyed(table):
    return [(row["id"], row["epoch"], row["loss"]) for row in table.rows]


@pytest.fixture
def small(monkeypatch):
    """Journals of few rows, so that many files come about."""
    monkeypatch.setattr(module, "_JOURNAL_ROWS", 7)


def test_rows_come_back_as_they_were_written(tmp_path):
    running = {name: None for name in (*METRICS, "feasible", "on_front", "diverged")}
    rows = [
        trial_row("a", lr=0.1 + 0.2, epochs=2**40, norm='Größe,\u2028"\n\x85', resample=True),
        trial_row("b", **running, epochs_done=0, seconds=0.0, status="running"),
    ]
    table = trials_table(tmp_path, KNOBS)
    table.upsert(rows)
    for _ in range(2):
        assert table.rows == trials_table(tmp_path, KNOBS).rows == rows
        table.merge()


@pytest.mark.parametrize("merged", [False, True])
def test_what_is_no_number_stays_apart_from_what_is_not_there_yet(tmp_path, merged):
    table = trials_table(tmp_path, KNOBS)
    kinds = {"retain_dice": math.nan, "retain_mae": math.inf, "forget_mae": -math.inf, "forget_dice": None}
    table.upsert([trial_row("a", **kinds)])
    if merged:
        table.merge()
    (row,) = trials_table(tmp_path, KNOBS).rows
    assert math.isnan(row["retain_dice"])
    assert (row["retain_mae"], row["forget_mae"], row["forget_dice"]) == (math.inf, -math.inf, None)
    assert trials_table(tmp_path, KNOBS).read()["retain_dice"].null_count == 0


def test_numpy_scalars_are_plain_values(tmp_path):
    numpy = {
        "lr": np.float64(0.1),
        "retain_dice": np.float32(0.1),
        "forget_dice": np.float64("nan"),
        "epochs": np.int64(7),
        "seed": np.uint8(255),
        "resample": np.bool_(True),
        "norm": np.str_("batch"),
    }
    trials_table(tmp_path, KNOBS).upsert([trial_row("a", **numpy)])
    (row,) = trials_table(tmp_path, KNOBS).rows
    assert (row["lr"], row["retain_dice"], row["epochs"], row["seed"]) == (0.1, float(np.float32(0.1)), 7, 255)
    assert math.isnan(row["forget_dice"])
    assert (row["resample"], row["norm"]) == (True, "batch")
    assert {type(row[name]) for name in ("lr", "epochs", "resample", "norm")} == {float, int, bool, str}


def test_columns_that_a_row_lacks_are_empty_and_others_are_left_out(tmp_path):
    history_table(tmp_path).upsert([{"id": "a", "epoch": 1, "loss": 2.0, "pid": 7}])
    (row,) = history_table(tmp_path).rows
    assert {name: value for name, value in row.items() if value is not None} == {"id": "a", "epoch": 1, "loss": 2.0}
    assert set(row) == {"id", "epoch", *METRICS, "loss", "seconds", "node"}


def test_the_last_row_of_a_key_counts_at_the_place_of_its_first(tmp_path):
    table = history_table(tmp_path)
    table.upsert([epoch_row("a", 1), epoch_row("b", 1, 3.0), epoch_row("b", 1, 4.0)])
    table.upsert([epoch_row("a", 2)])
    table.upsert([epoch_row("b", 1, 7.0), epoch_row("a", 1, 8.0)])
    for found in (table, history_table(tmp_path)):
        assert keyed(found) == [("a", 1, 8.0), ("b", 1, 7.0), ("a", 2, 1.0)]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_any_course_of_writes_merges_and_reopenings_is_that_of_a_dict(tmp_path, small, seed):
    rng, model, table = random.Random(seed), {}, history_table(tmp_path)
    for number in range(60):
        act = rng.random()
        if act < 0.1:
            table.merge()
        elif act < 0.25:
            table = history_table(tmp_path)
        else:
            keys = [(rng.choice("abc"), rng.randint(1, 9)) for _ in range(rng.choice([0, 1, 1, 2, 3, 20]))]
            table.upsert(epoch_row(*key, float(number)) for key in keys)
            model.update(dict.fromkeys(keys, float(number)))
        if rng.random() < 0.3:
            expected = [(*key, loss) for key, loss in model.items()]
            assert keyed(table) == keyed(history_table(tmp_path)) == expected
            chosen = history_table(tmp_path).read(id="b").to_pylist()
            assert [(row["id"], row["epoch"], row["loss"]) for row in chosen] == [r for r in expected if r[0] == "b"]
    assert keyed(table) == [(*key, loss) for key, loss in model.items()]


def test_rows_chosen_by_any_column_are_the_ones_that_count(tmp_path):
    table = trials_table(tmp_path, KNOBS)
    table.upsert([trial_row("a", status="running"), trial_row("b", status="running")])
    table.upsert([trial_row("a", status="finished")])
    assert table.read(status="running")["id"].to_pylist() == ["b"]
    assert table.read(status="finished")["id"].to_pylist() == ["a"]
    assert table.read(id="a", status="running").num_rows == 0


@pytest.mark.slow
def test_many_rows_become_parquet_files_and_one_in_the_end(tmp_path):
    table, rows = (
        history_table(tmp_path),
        [epoch_row(f"t{number // 100}", 1 + number % 100) for number in range(12_500)],
    )
    for start in range(0, len(rows), 500):
        table.upsert(rows[start : start + 500])
    files = sorted((tmp_path / "history").glob("*.parquet"))
    assert len(files) == 2
    assert sum(pq.read_metadata(file).num_rows for file in files) == 10_000
    assert (tmp_path / "history" / JOURNAL).read_text().count("\n") == 2_500
    assert len(pd.read_parquet(tmp_path / "history")) == 10_000  # the journal is no Parquet to others
    assert table.rows == rows
    table.merge()
    assert len(list((tmp_path / "history").iterdir())) == 1
    assert table.rows == rows


def test_pandas_reads_the_folder_once_it_is_merged(tmp_path, small):
    table = trials_table(tmp_path, KNOBS)
    rows = [trial_row(f"t{number:02}", lr=number / 8) for number in range(30)]
    for row in rows:
        table.upsert([{**row, "status": "running", "lr": None}])
        table.upsert([row])
    table.merge()
    found = pd.read_parquet(tmp_path / "trials")
    assert list(found.columns) == COLUMNS
    assert {str(found[name].dtype) for name in ("lr", *METRICS, "seconds")} == {"float64"}
    assert {str(found[name].dtype) for name in ("seed", "epochs", "epochs_done")} == {"int64"}
    assert {str(found[name].dtype) for name in ("resample", "feasible", "on_front", "diverged")} == {"bool"}
    for row, read in zip(rows, found.to_dict("records"), strict=True):
        assert read.items() >= {name: value for name, value in row.items() if value is not None}.items()
    assert [file.suffix for file in (tmp_path / "trials").iterdir()] == [".parquet"]


def test_merging_what_is_merged_or_not_there_changes_nothing(tmp_path):
    history_table(tmp_path / "none").merge()
    assert not (tmp_path / "none").exists()
    table = history_table(tmp_path)
    table.upsert([epoch_row("a", 1)])
    table.merge()
    (file,) = (tmp_path / "history").iterdir()
    before = file.stat().st_mtime_ns, file.name
    history_table(tmp_path).merge()
    (file,) = (tmp_path / "history").iterdir()
    assert (file.stat().st_mtime_ns, file.name) == before


def test_reading_what_is_not_there_yet_makes_no_file(tmp_path):
    assert history_table(tmp_path).rows == []
    assert history_table(tmp_path).read().schema.equals(history_table(tmp_path).schema)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [{"lr": "fast"}, {"norm": 3}, {"resample": 1}, {"epochs": "5"}, {"lr": object()}])
def test_a_value_of_a_wrong_type_is_refused_and_the_table_stays(tmp_path, wrong):
    table = trials_table(tmp_path, KNOBS)
    table.upsert([trial_row("a")])
    with pytest.raises((TypeError, ValueError, AttributeError)):
        table.upsert([trial_row("b", **wrong)])
    table.upsert([trial_row("c")])
    assert [row["id"] for row in trials_table(tmp_path, KNOBS).rows] == ["a", "c"]


def test_a_signature_survives_the_table(tmp_path):
    knobs = {"lr": 0.0012345678901234567, "epochs": 7, "norm": "batch", "resample": True}
    table = trials_table(tmp_path, KNOBS)
    table.upsert([trial_row("a", **knobs)])
    for _ in range(2):
        (row,) = trials_table(tmp_path, KNOBS).rows
        stored = {name: row[name] for name in KNOBS}
        assert TrialConfig("s", stored, 0, "b").signature == TrialConfig("s", knobs, 0, "b").signature
        table.merge()


@pytest.mark.parametrize("kept", [0, 1, 50, -1])
def test_a_last_line_that_was_cut_off_is_dropped_and_writing_goes_on(tmp_path, kept):
    history_table(tmp_path).upsert([epoch_row("a", 1), epoch_row("a", 2), epoch_row("b", 1)])
    journal = tmp_path / "history" / JOURNAL
    first, second, third = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(first + second + third[:kept])
    assert keyed(history_table(tmp_path)) == [("a", 1, 1.0), ("a", 2, 1.0)]
    table = history_table(tmp_path)
    table.upsert([epoch_row("c", 1)])
    assert keyed(table) == keyed(history_table(tmp_path)) == [("a", 1, 1.0), ("a", 2, 1.0), ("c", 1, 1.0)]
    table.merge()
    assert len(pd.read_parquet(tmp_path / "history")) == 3


def test_a_block_of_zeros_after_a_power_cut_is_dropped(tmp_path):
    history_table(tmp_path).upsert([epoch_row("a", 1)])
    with (tmp_path / "history" / JOURNAL).open("ab") as journal:
        journal.write(b'{"id": "a"' + b"\0" * 4096)
    history_table(tmp_path).upsert([epoch_row("a", 2)])
    assert keyed(history_table(tmp_path)) == [("a", 1, 1.0), ("a", 2, 1.0)]


def damage_parquet(folder):
    file = folder / "00000001.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    return f"{file}: damaged .*; 1 rows of the table 'history' can still be read"


def damage_journal(folder):
    (folder / JOURNAL).write_text('{"id": "a", "epo\n' + json.dumps(epoch_row("a", 3)) + "\n")
    return f"{folder / JOURNAL}: damaged in line 1; the other 1 lines can still be read"


def damage_encoding(folder):
    (folder / JOURNAL).write_bytes(b'{"id": "\xff"}\n')
    return f"{folder / JOURNAL}: damaged in line 1; the other 0 lines can still be read"


@pytest.mark.parametrize("damage", [damage_parquet, damage_journal, damage_encoding])
def test_a_damaged_table_is_named_and_not_taken_for_a_shorter_one(tmp_path, damage):
    table = history_table(tmp_path)
    table.upsert([epoch_row("a", 1)])
    table.merge()
    table.upsert([epoch_row("a", 2)])
    said = damage(tmp_path / "history")
    with pytest.raises(StudyError, match=said):
        history_table(tmp_path).read()
    with pytest.raises(StudyError, match=said):
        history_table(tmp_path).merge()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [10, 0])
def test_a_reader_in_another_process_sees_whole_rows_only_and_ever_more(tmp_path, rows):
    """While a writer rolls its journal after 10 rows, or never, and merges all the same."""
    process, sizes, others, end = child(WRITER, tmp_path, 40, rows=rows), [], [], time.monotonic() + 60
    try:
        while len(set(sizes)) < 25:
            assert process.poll() is None
            assert time.monotonic() < end
            found = history_table(tmp_path).read().to_pylist()
            losses = [row["loss"] for row in found if row["id"] == "t"]
            assert losses == [float(epoch) for epoch in range(1, len(losses) + 1)]
            assert all(row["seconds"] == 1.0 and row["retain_dice"] == 0.5 for row in found)
            assert [row["id"] for row in found[:2]] == ["t", "other"][: len(found)]
            sizes.append(len(losses))
            others += [row["loss"] for row in found if row["id"] == "other"]
    finally:
        process.kill()
        process.communicate()
    assert sizes == sorted(sizes)
    assert others == sorted(others)
    assert sizes[-1] > 80, "the reader saw no merge"


@pytest.mark.slow
@pytest.mark.parametrize("rows", [6, 0])
def test_a_writer_killed_at_any_moment_leaves_all_that_it_had_reported(tmp_path, rows):
    rng, sizes = random.Random(rows), [0]
    for _ in range(5):
        process = child(WRITER, tmp_path, 9, rows=rows)
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        reported = [int(line) for line in process.communicate()[0].split()]
        table = history_table(tmp_path)
        losses = [row["loss"] for row in table.read(id="t").to_pylist()]
        assert losses == [float(epoch) for epoch in range(1, len(losses) + 1)]
        assert len(losses) >= max(reported, default=sizes[-1] - 1)
        (other,) = table.read(id="other")["loss"].to_pylist()
        assert max(reported, default=0) <= other <= len(losses)
        sizes.append(len(losses))
    table.upsert([epoch_row("last", 1)])
    table.merge()
    assert len(pd.read_parquet(tmp_path / "history")) == sizes[-1] + 2


# Writes and merges, once for each step that changes a file, before which a copy of this process is killed.
KILLED_AT_EVERY_STEP = """
import os
steps = [(Path, "replace"), (Path, "unlink"), (Path, "touch"), (module.pq, "write_table"), (module.os, "truncate")]

def write_and_merge(folder, left):
    def counted(do):
        def step(*given, **named):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)
            return do(*given, **named)
        return step

    (folder / "returned").write_text("")
    for owner, name in steps:
        setattr(owner, name, counted(getattr(owner, name)))
    table = history_table(folder)
    for epoch in range(1, 13):
        table.upsert([row(epoch), {**row(1, "other"), "loss": float(epoch)}])
        with (folder / "returned").open("a") as returned:
            returned.write(f"{epoch} ")
        if epoch % 8 == 0:
            table.merge()
    table.merge()

for left in count():
    (folder / str(left)).mkdir(parents=True)
    copy = os.fork()
    if not copy:
        write_and_merge(folder / str(left), left)
        os._exit(0)
    if not os.waitpid(copy, 0)[1]:
        break
"""


@pytest.mark.slow
def test_a_process_killed_at_any_step_leaves_every_row_at_its_place(tmp_path):
    child(KILLED_AT_EVERY_STEP, tmp_path, rows=4).communicate()
    copies = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(copies) > 30
    for copy in copies:
        returned = len((copy / "returned").read_text().split())
        for table in (history_table(copy), history_table(copy)):
            found = keyed(table)
            assert returned <= max(len(found) - 1, 0) <= returned + 1, copy
            if found:
                last = len(found) - 1
                assert found == [
                    ("t", 1, 1.0),
                    ("other", 1, float(last)),
                    *(("t", e, float(e)) for e in range(2, last + 1)),
                ]
            table.upsert([])
        again = history_table(copy)
        again.upsert([epoch_row("t", 20)])
        again.merge()
        assert keyed(again) == [*found, ("t", 20, 1.0)]
        assert len(pd.read_parquet(copy / "history")) == len(found) + 1
    assert returned == 12


# Fills a small disk; `rows` of the journal decide whether a line or a Parquet file is what it has no room for.
FULL = """
import subprocess
folder.mkdir(exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={words[0]}k", "tmpfs", str(folder)], check=True)
ballast = folder / "ballast"
ballast.write_bytes(bytes(int(words[1]) * 1024))
written, refused = 0, 0
for epoch in range(1, 2000):
    try:
        table.upsert([row(epoch), row(epoch, "other")])
        written = epoch
    except OSError as error:
        assert error.errno == 28, error
        refused += 1
        try:
            table.merge()
        except OSError:
            pass
        for found in (table, history_table(folder)):
            assert [each["epoch"] for each in found.read(id="t").to_pylist()] == list(range(1, written + 1)), "t"
            assert len(found.rows) == 2 * written, (len(found.rows), written)
        if refused == 3:
            break
assert refused == 3 and written > 5, (refused, written)
assert not list(folder.rglob("*.partial")), list(folder.rglob("*"))
ballast.unlink()
for epoch in range(written + 1, written + 11):
    table.upsert([row(epoch), row(epoch, "other")])
table.merge()
for found in (table, history_table(folder)):
    assert [each["loss"] for each in found.read(id="t").to_pylist()] == [float(e) for e in range(1, written + 11)]
print("held", written)
"""


@pytest.mark.parametrize(
    ("rows", "size", "ballast"),
    [(40, 256, 128), *(pytest.param(*case, marks=pytest.mark.slow) for case in [(0, 256, 128), (300, 256, 100)])],
)
def test_a_full_disk_takes_nothing_from_a_table_and_space_lets_it_go_on(tmp_path, rows, size, ballast):
    unshare = ["unshare", "-rm"]
    if subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no tmpfs may be mounted here")
    process = child(FULL, tmp_path / "disk", size, ballast, rows=rows, before=unshare)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert output.startswith("held")


@pytest.mark.slow
def test_half_a_million_epochs_are_read(tmp_path):
    count = 500_000
    trial, epoch = np.divmod(np.arange(count), 100)
    schema, folder = history_table(tmp_path).schema, tmp_path / "history"
    folder.mkdir()
    values = {name: np.full(count, 0.5) for name in (*METRICS, "seconds")}
    values |= {"id": trial.astype(str), "epoch": epoch + 1, "loss": np.arange(count) / 8, "node": np.full(count, "n")}
    rows = pa.table(
        [pa.array(values[name], kind) for name, kind in zip(schema.names, schema.types, strict=True)], schema
    )
    for number, start in enumerate(range(0, count, 125_000), 1):
        pq.write_table(rows.slice(start, 125_000), folder / f"{number:08}.parquet")
    table = history_table(tmp_path)
    table.upsert([epoch_row("17", 3, -1.0), epoch_row("new", 1, -2.0)])
    found = table.read()
    assert found.num_rows == count + 1
    expected = np.append(np.arange(count) / 8, -2.0)
    expected[17 * 100 + 2] = -1.0
    assert np.array_equal(found["loss"].to_numpy(), expected)
    assert [row["loss"] for row in table.read(id="17").to_pylist()] == expected[1700:1800].tolist()
    table.merge()
    assert np.array_equal(pd.read_parquet(folder).loss, expected)


def test_tables_of_one_study_lie_side_by_side(tmp_path):
    trials_table(tmp_path, KNOBS).upsert([trial_row("a")])
    subject = {"id": "a", "epoch": 1, "set": "retain", "subject": "s-1", "dice": 0.5, "mae": 0.25}
    subjects_table(tmp_path).upsert([subject])
    assert subjects_table(tmp_path).rows == [subject]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["subjects", "trials"]
    assert isinstance(subjects_table(tmp_path), Table)
