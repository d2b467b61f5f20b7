from pathlib import Path

import pytest

from trainables.cohorts.readers.bids import read


@pytest.fixture
def touch(tmp_path):
    def files(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return files


def test_label_beside_the_image(touch):
    root = touch("sub-2/anat/sub-2_T1w.nii.gz", "sub-2/anat/sub-2_dseg.nii.gz", "sub-2/anat/sub-2_FLAIR.nii.gz")
    listing = read(root)
    assert not listing.problems
    (scan,) = listing.subjects[0].scans
    assert (scan.id, scan.label.name) == ("sub-2", "sub-2_dseg.nii.gz")
    assert read(root, "FLAIR").subjects[0].scans[0].image.name == "sub-2_FLAIR.nii.gz"


def test_sessions_and_runs_are_scans_of_one_subject(touch):
    names = ["ses-1/anat/sub-1_ses-1_run-1", "ses-1/anat/sub-1_ses-1_run-2", "ses-2/anat/sub-1_ses-2"]
    listing = read(touch(*[f"sub-1/{name}_{kind}.nii.gz" for name in names for kind in ("T1w", "dseg")]))
    assert not listing.problems
    (subject,) = listing.subjects
    assert [scan.id for scan in subject.scans] == ["sub-1_ses-1_run-1", "sub-1_ses-1_run-2", "sub-1_ses-2"]
    assert all(scan.label.name == f"{scan.id}_dseg.nii.gz" for scan in subject.scans)


def test_derivatives_and_the_closest_name(touch):
    root = touch(
        "sub-1/anat/sub-1_T1w.nii.gz",
        "derivatives/tool/sub-1/anat/sub-1_space-orig_desc-aseg_dseg.nii.gz",
        "derivatives/tool/sub-1/anat/sub-1_desc-aseg_dseg.nii.gz",
        "derivatives/tool/sub-1/anat/sub-1_run-2_dseg.nii.gz",
    )
    assert read(root).subjects[0].scans[0].label.name == "sub-1_desc-aseg_dseg.nii.gz"
    touch("derivatives/other/sub-1/anat/sub-1_desc-atlas_dseg.nii.gz")
    (problem,) = read(root).problems
    assert problem.startswith("sub-1 ")
    assert "several label maps fit" in problem


def test_bad_layouts_are_problems(touch, tmp_path):
    root = touch("sub-1/anat/sub-1_T1w.nii.gz", "sub-2/anat/sub-2_bold.nii.gz")
    (root / "participants.tsv").write_text("participant_id\tage\nsub-1\t3\nsub-9\t4\n")
    problems = read(root).problems
    assert len(problems) == 4
    for subject, words in {"sub-9": "no folder", "sub-2": "not listed"}.items():
        assert any(line.startswith(subject) and words in line for line in problems)
    assert any(line.startswith("sub-2") and "no *_T1w.nii.gz" in line for line in problems)
    assert any(line.startswith("sub-1") and "no *_dseg.nii.gz" in line for line in problems)
    (root / "participants.tsv").write_text("name\nsub-1\n")
    assert "no column participant_id" in read(root).problems[0]
    assert "no such folder" in read(tmp_path / "gone").problems[0]
    assert "no sub-* folder" in read(root / "sub-1").problems[0]
