import json
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from study.records.failure import StudyError
from study.records.metrics import METRICS
from study.records.reading import load_study
from study.records.table import JOURNAL
from study.records.tables import history_table, trials_table

KNOBS = {"noise_rate": float, "lr": float, "epochs": int, "resample": bool}


@pytest.fixture
def history():
    metrics = {name: 0.01 * k for k, name in enumerate(METRICS)}
    return [
        {"id": "good", "epoch": epoch, **metrics, "loss": 1.5, "seconds": 0.25, "node": "10.0.0.1"}
        for epoch in (1, 2)
    ]


def test_a_study_is_read_back(study, rows, history):
    data = study(*rows, history=history)
    assert (data.name, data.space, data.settings.retain_floor) == ("hippocampus", "noisy_label", 0.9)
    assert data.knobs == KNOBS
    assert data.reference("baseline") == {"retain_dice": 0.8, "forget_dice": 0.78}
    assert data.published.source == "arXiv 2606.16180, Noisy Label, 50 epochs"
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
    assert [*data.history] == ["id", "epoch", *METRICS, "loss", "seconds", "node"]
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
                "constraints",
                "references",
                "published",
                "suite",
                "selection",
                "cohort",
                "split",
                "versions",
                "commit",
            )
        ),
        {"settings": {"objective": "gap", "retain_floor": None}},
        {"settings": {"objective": "gap", "retain_floor": "most"}},
        {"settings": {"objective": "beauty", "retain_floor": 0.9}},
        {"knobs": {"lr": "complex"}},
        {"knobs": ["lr"]},
        {"constraints": ["retention>0.9"]},
        {"constraints": "retention>=0.9"},
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
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["trials", "history"])
def test_a_damaged_table_is_blamed_and_not_the_record(folder, rows, history, name, damage):
    path = folder(*rows, history=history)
    trials_table(path, KNOBS).merge(), history_table(path).merge()
    (file,) = (path / name).iterdir()
    DAMAGES[damage](file)
    with pytest.raises(StudyError, match=f"^{path / name}/.*: damaged"):
        load_study(path)


@pytest.mark.parametrize("line", ["id,retain_dice", '{"id": "a"', '{"id": "a", "retain_dice": "x"}', "\xff"])
@pytest.mark.parametrize("name", ["trials", "history"])
def test_so_is_a_table_whose_newest_rows_are_damaged(folder, rows, history, name, line):
    path = folder(*rows, history=history)
    with (path / name / JOURNAL).open("a", encoding="latin-1") as journal:
        journal.write(f"{line}\n")
    with pytest.raises(StudyError, match=f"^{path / name}/.*: damaged"):
        load_study(path)


def test_the_constraints_of_a_study_are_those_of_its_record(study):
    given = ["retention>=0.9", "forget_dice<=0.25", "seconds<=600"]
    found = study(constraints=given).constraints
    assert [(one.column, one.relation, one.bound) for one in found] == [
        ("retention", ">=", 0.9),
        ("forget_dice", "<=", 0.25),
        ("seconds", "<=", 600.0),
    ]
    assert [str(one) for one in found] == given


def test_a_study_under_way_is_read_as_it_stands(folder, rows, trial, history):
    """Whether rows are in the journal, in files of their own, or merged."""
    path = folder(*rows, history=history)
    before = load_study(path)
    trials_table(path, KNOBS).merge()
    folder(trial("new", 0.7, 0.1), {**rows[2], "status": "finished"})
    after = load_study(path)
    assert [*after.trials["id"]] == [*before.trials["id"], "new"]
    assert after.trials.set_index("id").status["running"] == "finished"
    pd.testing.assert_frame_equal(after.history, before.history)
