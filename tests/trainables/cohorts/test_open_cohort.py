from pathlib import Path

import numpy as np
import pytest

from trainables.cohorts import readers
from trainables.cohorts.cohort import IGNORED, CohortError
from trainables.cohorts.open_cohort import kind_and_path, open_cohort
from trainables.registry import READERS


@pytest.fixture
def opened(listed, tmp_path):
    """Opens a MedicalNet cohort of four subjects with labels 0 1 2."""

    def open_it(spec=None, **options):
        return open_cohort(
            f"medicalnet:{listed(4)}" if spec is None else spec, cache_dir=tmp_path / "cache", **options
        )

    return open_it


def problems(opened, *arguments, **options):
    with pytest.raises(CohortError) as error:
        opened(*arguments, **options)
    assert str(error.value) == "\n".join(error.value.problems)
    return error.value.problems


def csv(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_reader_is_a_kind():
    assert set(READERS.names()) == {file.stem for file in Path(readers.__path__[0]).glob("[!_]*.py")}
    assert {"mrbrains18", "decathlon", "bids", "medicalnet", "phantom"} <= set(READERS.names())


def test_a_cohort_with_all_defaults(opened):
    cohort = opened()
    assert cohort.images.shape == cohort.labels.shape == (4, 8, 16, 16)
    assert cohort.subjects == cohort.subject_ids == ("s0", "s1", "s2", "s3")
    assert cohort.class_names == ("background", "label 1", "label 2")
    assert cohort.spacing_mm == (1.0, 1.0, 1.0)
    assert [int((cohort.labels[0] == value).sum()) for value in (1, 2)] == [72, 72]


def test_label_map_groups_and_shape_take_part(opened, tmp_path):
    merged = csv(tmp_path / "map.csv", "from,to,name", "0,0,outside", "1,ignore,", "2,1,right")
    groups = csv(tmp_path / "groups.csv", "case,subject", "s0,ada", "s1,ben", "s2,ada", "s3,cleo")
    cohort = opened(label_map=merged, groups=groups, shape=(8, 8, 24))
    assert cohort.subject_ids == ("ada", "ada", "ben", "cleo")
    assert cohort.class_names == ("outside", "right")
    assert cohort.images.shape == (4, 8, 8, 24)
    assert cohort.spacing_mm == (1.0, 1.5, 1.0)
    assert set(np.unique(cohort.labels)) == {0, 1, IGNORED}


@pytest.mark.parametrize("spec", ["dicom:/data", "", ":/data", "Bids:/data", "/data/bids"])
def test_an_unknown_kind_lists_the_known_ones(opened, spec):
    (line,) = problems(opened, spec)
    assert repr(spec) in line
    assert all(kind in line for kind in READERS.names())


def test_everything_wrong_is_said_at_once(opened, listed, tmp_path):
    spec = f"medicalnet:{listed(4)}"
    (tmp_path / "image/s1.nii.gz").unlink()
    (tmp_path / "label/s3.nii.gz").write_bytes(b"no gzip")
    broken_map = csv(tmp_path / "map.csv", "from,to,name", "0,0,background", "one,1,left", "2,2,")
    groups = csv(tmp_path / "groups.csv", "case,subject", "s0,ada", "s1,ben", "s2,", "s9,cleo")
    lines = problems(opened, spec, contrast="T1", label_map=broken_map, groups=groups, shape=(4, 16, 16))
    expected = [
        "'T1'",  # a list file has no contrasts
        "s2 " + str(groups),
        "s9 " + str(groups),
        "s3 " + str(groups),
        "at least 8 voxels along each axis, got (4, 16, 16)",
        "map.csv, line 3",
        "map.csv, line 4",
        f"s1 {tmp_path / 'image/s1.nii.gz'}: missing",
        f"s3 {tmp_path / 'label/s3.nii.gz'}: unreadable",
    ]
    assert len(lines) == len(expected)
    assert all(sum(words in line for line in lines) == 1 for words in expected)
    assert not list((tmp_path / "cache").rglob("*"))


def test_a_broken_label_map_does_not_make_every_label_unexpected(opened, tmp_path):
    (line,) = problems(opened, label_map=tmp_path / "gone.csv")
    assert "gone.csv: no such file" in line


def test_a_tilde_is_the_home_folder(opened, listed, monkeypatch):
    file = listed(4)
    monkeypatch.setenv("HOME", str(file.parent))
    assert opened("medicalnet:~/list.txt").digest == opened(f"medicalnet:{file}").digest


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("bids:/data/a:b", ("bids", "/data/a:b")),
        ("phantom", ("phantom", "")),
        ("my.readers:read:/data/a:b", ("my.readers:read", "/data/a:b")),
        ("my.readers:read", ("my.readers:read", "")),
        ("bids:c:/data", ("bids", "c:/data")),
        ("/data.d/x:y:z", ("/data.d/x", "y:z")),
    ],
)
def test_kind_and_path_are_told_apart(spec, parts):
    assert kind_and_path(spec) == parts


def test_a_reader_of_another_package_is_named_by_its_address(opened, listed):
    module = "trainables.cohorts.readers.medicalnet:read"
    assert opened(f"{module}:{listed(4)}").digest == opened(f"medicalnet:{listed(4)}").digest


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("my.readers:read:x", "reader 'my.readers:read': my.readers cannot be imported (ModuleNotFoundError"),
        ("lists.none:read:x", "the reader 'lists.none:read' returns no Listing but a list"),
    ],
)
def test_a_reader_that_is_none_is_refused(opened, spec, reason, tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/none.py").write_text("def read(path, contrast=None):\n    return [path]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (line,) = problems(opened, spec)
    assert reason in line
