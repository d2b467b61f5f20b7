import gzip
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from trainables.cohorts.checks import cohort_problems, inspect_scan
from trainables.cohorts.cohort import Listing
from trainables.cohorts.label_map import LabelMap
from trainables.cohorts.readers.medicalnet import read

NAMES = {0: "background", 1: "left", 2: "right"}


def problems_of(listing: Listing, label_map: LabelMap | None = None) -> list[str]:
    facts = [inspect_scan(subject.id, scan) for subject in listing.subjects for scan in subject.scans]
    return cohort_problems(listing, facts, label_map)


def truncate(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def change(path, edit, affine=None, dtype=None):
    image = nib.load(path)
    voxels = edit(np.asarray(image.dataobj).astype(dtype or image.get_data_dtype()))
    nib.save(nib.Nifti1Image(voxels, image.affine if affine is None else affine), path)


def put(value):
    def edit(voxels):
        voxels[1, 1, 1] = value
        return voxels

    return edit


def shift(millimetres):
    affine = np.eye(4)
    affine[0, 3] = millimetres
    return affine


BREAKS = {
    "missing": ("image", lambda path: path.unlink()),
    "unreadable": ("image", truncate),
    "unreadable (": ("label", lambda path: path.write_bytes(b"not a gzip file")),
    "unreadable (C": ("label", lambda path: truncate(path, 0.9)),
    "1 NaN or infinite voxels": ("image", lambda path: change(path, put(np.nan))),
    "1 NaN or infinite voxel": ("label", lambda path: change(path, put(np.inf), dtype=np.float32)),
    "constant image": ("image", lambda path: change(path, lambda voxels: voxels * 0 + 7)),
    "shape mismatch": ("label", lambda path: change(path, lambda voxels: voxels[:-1])),
    "affine mismatch": ("label", lambda path: change(path, lambda voxels: voxels, affine=shift(0.5))),
    "must be whole numbers, but there are [0.5]": ("label", lambda path: change(path, put(0.5), dtype=np.float32)),
    "unexpected labels [77]": ("label", lambda path: change(path, put(77))),
    "unexpected labels [-1]": ("label", lambda path: change(path, put(-1), dtype=np.int16)),
    "no foreground": ("label", lambda path: change(path, lambda voxels: voxels * 0)),
}


@pytest.mark.parametrize("words", BREAKS)
def test_a_broken_file_is_named_with_its_subject(listed, words):
    listing = replace(read(listed(3)), class_names=NAMES)
    assert problems_of(listing) == []
    part, damage = BREAKS[words]
    broken = getattr(listing.subjects[1].scans[0], part)
    damage(broken)
    (line,) = problems_of(listing)
    assert line.startswith(f"s1 {broken}: ")
    assert words in line


def test_everything_at_once(listed):
    listing = replace(read(listed(len(BREAKS) + 1)), class_names=NAMES, problems=("layout",))
    for subject, (part, damage) in zip(listing.subjects, BREAKS.values(), strict=False):
        damage(getattr(subject.scans[0], part))
    lines = problems_of(listing)
    assert lines[0] == "layout"
    assert [line.split()[0] for line in lines[1:]] == [subject.id for subject in listing.subjects[:-1]]


def test_a_label_within_a_tenth_of_a_voxel_and_scaled_integers_pass(listed):
    listing = read(listed(2))
    change(listing.subjects[0].scans[0].label, lambda voxels: voxels, affine=shift(0.05))
    change(listing.subjects[1].scans[0].label, lambda voxels: voxels + 1e-5, dtype=np.float32)
    assert problems_of(listing) == []


def test_an_image_and_label_stored_in_different_orientations_agree(listed):
    listing = read(listed(2))
    label = listing.subjects[0].scans[0].label
    change(label, lambda voxels: voxels[::-1], affine=np.diag([-1.0, 1, 1, 1]) + shift(9) - np.eye(4))
    assert problems_of(listing) == []


def test_unexpected_labels_name_the_map(listed, tmp_path):
    file = tmp_path / "map.csv"
    label_map = LabelMap(file, {0: 0, 1: 1}, {0: "background", 1: "left"})
    lines = problems_of(read(listed(2)), label_map)
    assert [f"unexpected labels [2] (not in {file})" in line for line in lines] == [True, True]


def test_ignored_labels_are_no_foreground(listed):
    listing = replace(read(listed(2)), class_names={0: "background"}, ignored=frozenset({1, 2}))
    lines = problems_of(listing)
    assert ["no foreground" in line for line in lines] == [True, True, False]
    assert "fewer than two classes" in lines[2]


def test_twins_whatever_their_storage(listed):
    listing = read(listed(3))
    first, second = (listing.subjects[k].scans[0].image for k in (0, 2))
    image = nib.load(first)
    nib.save(nib.as_closest_canonical(image).slicer[:], second)
    change(second, lambda voxels: voxels, dtype=np.float64)
    (line,) = problems_of(listing)
    assert line == f"identical voxels in different subjects: s0 {first}, s2 {second}"


def test_duplicate_ids(listed):
    file = listed(2)
    file.write_text(file.read_text() + "image/s0.nii.gz label/s0.nii.gz\n")
    lines = problems_of(read(file))
    assert any(line.startswith("s0: subject id used 2 times") for line in lines)
    assert any(line.startswith("s0 ") and "duplicate scan id" in line for line in lines)


def test_a_channel_that_is_not_there_and_an_empty_listing(listed):
    listing = read(listed(2))
    subject = listing.subjects[0]
    wrong = replace(subject, scans=(replace(subject.scans[0], channel=1),))
    assert "channel 1 is asked for" in problems_of(replace(listing, subjects=(wrong, listing.subjects[1])))[0]
    assert problems_of(Listing(())) == ["the cohort has no scan"]


def test_damage_in_the_header(listed):
    listing = read(listed(2))
    image = listing.subjects[0].scans[0].image
    content = bytearray(gzip.decompress(image.read_bytes()))
    content[70:72] = (31337).to_bytes(2, "little")  # the data type's code
    image.write_bytes(gzip.compress(bytes(content)))
    (line,) = problems_of(listing)
    assert line.startswith(f"s0 {image}: unreadable (")
