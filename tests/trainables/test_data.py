import pickle
from dataclasses import fields

import numpy as np
import pytest

from trainables.cohorts.cohort import Cohort
from trainables.data import Sets, TrialData, scans, trial_data
from trainables.split import Split, split_subjects

SCANS = ("sub-Ada", "sub-Ben", "sub-Ada", "sub-Cleo", "sub-Dora", "sub-Ben", "sub-Ada")


@pytest.fixture
def cohort(tmp_path):
    """Arrays as the cache gives them: read-only memory maps."""
    arrays = []
    for name, dtype in (("images", np.float32), ("labels", np.uint8)):
        np.save(tmp_path / f"{name}.npy", np.arange(7 * 8).reshape(7, 2, 2, 2).astype(dtype))
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    return Cohort(*arrays, SCANS, ("background", "hippocampus"), (1.0, 2.0, 3.0), "0123456789abcdef")


def test_all_scans_of_a_subject_go_where_the_subject_goes(cohort):
    data = trial_data(cohort, Split(retain=("sub-Ben", "sub-Dora"), forget=("sub-Ada",), heldout=("sub-Cleo",)))
    assert data.subsets == {"retain": ((1, 5), (4,)), "forget": ((0, 2, 6),), "heldout": ((3,),)}
    assert scans(data.retain) == [1, 5, 4]
    assert data.classes == 2
    assert data.images is cohort.images
    assert data.labels is cohort.labels


def test_steering_subjects_are_a_set_where_there_are_some(cohort):
    split = Split(("sub-Ben",), ("sub-Ada",), ("sub-Cleo",), ("sub-Dora",))
    data = trial_data(cohort, split)
    sets = {"retain": ((1, 5),), "forget": ((0, 2, 6),), "heldout": ((3,),)}
    assert data.subsets == {**sets, "steering": ((4,),)}
    other = data.with_sets(Sets(((3,), (4,)), ((1, 5),)))
    assert other.subsets == {"retain": ((3,), (4,)), "forget": ((1, 5),), "heldout": ()}
    assert other.images is data.images
    assert data.with_sets(Sets(*(sets[name] for name in sets), ((4,),))).subsets == data.subsets


@pytest.mark.parametrize("seed", range(5))
def test_no_scan_is_in_two_sets(cohort, seed):
    data = trial_data(cohort, split_subjects(cohort.subjects, seed))
    assert sorted(scan for subset in data.subsets.values() for scan in scans(subset)) == list(range(7))


def test_no_subject_id_class_name_or_path_leaves_with_a_trial(cohort, tmp_path):
    content = pickle.dumps(trial_data(cohort, split_subjects(cohort.subjects, 0)))
    assert cohort.images.tobytes() in content
    for word in (*SCANS, "Ada", "hippocampus", str(tmp_path), cohort.digest):
        assert word.encode() not in content
    assert [field.name for field in fields(TrialData)] == [
        "images",
        "labels",
        "retain",
        "forget",
        "heldout",
        "classes",
        "steering",
    ]
