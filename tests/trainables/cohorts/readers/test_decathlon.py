import json

import pytest

from trainables.cohorts.readers.decathlon import read

DATASET = {
    "modality": {"0": "FLAIR", "1": "T1w"},
    "labels": {"0": "background", "1": "edema"},
    "training": [
        {"image": "./imagesTr/b.nii.gz", "label": "./labelsTr/b.nii.gz"},
        {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"},
    ],
}


@pytest.fixture
def task(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET))
    return tmp_path


def test_training_cases_in_order(task):
    listing = read(task)
    assert [subject.id for subject in listing.subjects] == ["a", "b"]
    assert listing.subjects[0].scans[0].label == task / "labelsTr/a.nii.gz"
    assert listing.class_names == {0: "background", 1: "edema"}
    assert listing.subjects[0].scans[0].channel == 0


def test_contrast_names_the_channel(task):
    assert read(task, "T1w").subjects[0].scans[0].channel == 1
    assert read(task, "PD").problems == (f"{task / 'dataset.json'}: no modality 'PD'; it has FLAIR, T1w",)


@pytest.mark.parametrize("text", ["{", "[]", '{"labels": {}}', '{"labels": {"x": "y"}, "training": []}'])
def test_a_broken_description_is_a_problem(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    assert "not a Decathlon description" in read(tmp_path).problems[0]


def test_missing_and_empty(tmp_path):
    assert "no such file" in read(tmp_path).problems[0]
    (tmp_path / "dataset.json").write_text('{"labels": {"0": "background"}, "training": []}')
    assert "no training case" in read(tmp_path).problems[0]
