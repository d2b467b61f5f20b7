import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.tables import StudyError, load_study
from study.records import METRICS


@pytest.fixture
def history():
    metrics = {name: 0.01 * k for k, name in enumerate(METRICS)}
    return [{"id": "good", "epoch": epoch, **metrics, "loss": 1.5, "seconds": 0.25} for epoch in (1, 2)]


def test_a_study_is_read_back(study, rows, history):
    data = study(*rows, history=history)
    assert (data.name, data.space, data.retain_floor) == ("hippocampus", "noisy_label", 0.9)
    assert data.knobs == {"noise_rate": "float", "lr": "float", "epochs": "int", "resample": "bool"}
    assert data.references["baseline"] == {"retain_dice": 0.8, "forget_dice": 0.78}
    assert data.published["source"] == "arXiv 2606.16180, Noisy Label, 50 epochs"
    read = data.trials.to_dict("records")
    assert list(read[0]) == list(rows[0])
    for row, found in zip(rows, read, strict=True):
        assert found.items() >= {name: value for name, value in row.items() if value is not None}.items()
    assert data.history.to_dict("records") == history


def test_what_is_not_there_yet_is_nan_or_false(study, trial):
    row, undefined = study(trial("a", status="running"), trial("b", 0.7, math.nan)).trials.to_dict("records")
    assert all(math.isnan(row[name]) for name in METRICS)
    assert [row[name] for name in ("feasible", "on_front", "diverged")] == [False] * 3
    assert (row["status"], row["epochs_done"]) == ("running", 0)
    assert math.isnan(undefined["forget_dice"])


def test_trials_stay_in_the_order_in_which_they_began(folder, trial):
    before = load_study(folder(trial("z", status="running"), trial("a", 0.7, 0.1), trial("m", status="running")))
    after = load_study(folder(trial("z", 0.7, 0.2)))
    assert [*before.trials["id"]] == [*after.trials["id"]] == ["z", "a", "m"]
    assert [*after.trials["status"]] == ["finished", "finished", "running"]


def test_tables_that_do_not_exist_yet_are_empty_and_have_their_columns(folder, rows):
    data = load_study(folder())
    assert len(data.trials) == len(data.history) == 0
    assert [*data.trials] == list(rows[0])
    assert [*data.history] == ["id", "epoch", *METRICS, "loss", "seconds"]
    assert [path.name for path in folder().iterdir()] == ["study.json"]


@pytest.mark.parametrize("name", ["", "absent", "study/study.json"])
def test_a_folder_without_a_study_is_named(tmp_path, folder, name):
    folder()
    with pytest.raises(StudyError, match="no study") as caught:
        load_study(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name} is not a study")


@pytest.mark.parametrize("content", [b"", b"{", b'{"name": "a"', b"\xff\xfe{}", b"not json"])
def test_a_damaged_record_is_named(folder, content):
    file = folder() / "study.json"
    file.write_bytes(content)
    with pytest.raises(StudyError, match=f"^{file} is damaged: "):
        load_study(file.parent)


@pytest.mark.parametrize(
    "change",
    [
        *(
            {name: ...}
            for name in (
                "name",
                "space",
                "settings",
                "knobs",
                "references",
                "published",
                "suite",
                "selection",
                "cohort",
            )
        ),
        {"settings": {}},
        {"settings": {"objective": "gap", "retain_floor": None}},
        {"settings": {"objective": "gap", "retain_floor": "most"}},
        {"settings": {"objective": "beauty", "retain_floor": 0.9}},
        {"knobs": {"lr": "complex"}},
        {"knobs": ["lr"]},
        {"references": []},
        {"references": {"baseline": 0.9}},
        [],
        None,
        "study",
    ],
    ids=str,
)
def test_an_incomplete_record_is_named(folder, change):
    file = folder() / "study.json"
    if isinstance(change, dict):
        record = json.loads(file.read_text()) | change
        change = {name: value for name, value in record.items() if value is not ...}
    file.write_text(json.dumps(change))
    with pytest.raises(StudyError, match=f"^{file} is not a study's record: "):
        load_study(file.parent)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "text": lambda path: path.write_text("id,retain_dice\n"),
    "words for numbers": lambda path: pq.write_table(
        pa.table({"id": ["a"], "epoch": [1], "retain_dice": ["x"]}), path
    ),
    "no ids": lambda path: pq.write_table(pa.table({"retain_dice": [0.5]}), path),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["trials", "history"])
def test_a_damaged_table_is_blamed_and_not_the_record(folder, rows, history, name, damage):
    path = folder(*rows, history=history)
    DAMAGES[damage](path / f"{name}.parquet")
    with pytest.raises(StudyError, match=f"^a table of {path} is damaged: "):
        load_study(path)


def test_a_table_is_never_seen_half_written(folder, rows, trial):
    """A reader that opened the table before a write goes on reading the old one."""
    path = folder(*rows)
    with (path / "trials.parquet").open("rb") as old:
        folder(trial("new", 0.7, 0.1))
        assert pq.read_table(old)["id"].to_pylist() == [row["id"] for row in rows]
    assert len(load_study(path).trials) == len(rows) + 1
    assert sorted(file.name for file in path.iterdir()) == ["study.json", "trials.parquet"]
