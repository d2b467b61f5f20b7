from trainables.cohorts.readers.mrbrains18 import read


def test_every_folder_is_a_subject(tmp_path):
    for subject in ("7", "14"):
        (tmp_path / subject / "pre").mkdir(parents=True)
    listing = read(tmp_path)
    assert [subject.id for subject in listing.subjects] == ["14", "7"]
    (scan,) = listing.subjects[0].scans
    assert (scan.id, scan.image, scan.label) == (
        "14",
        tmp_path / "14/pre/reg_T1.nii.gz",
        tmp_path / "14/segm.nii.gz",
    )
    assert len(listing.class_names) == 9
    assert listing.class_names[8] == "brain stem"
    assert listing.ignored == {9, 10}
    assert not listing.problems


def test_contrast_names_the_file(tmp_path):
    (tmp_path / "1/pre").mkdir(parents=True)
    assert read(tmp_path, "FLAIR").subjects[0].scans[0].image.name == "FLAIR.nii.gz"
    assert "T2" in read(tmp_path, "T2").problems[0]


def test_bad_layouts_are_problems(tmp_path):
    assert read(tmp_path).problems == (f"{tmp_path}: no subject folder",)
    assert read(tmp_path / "gone").problems == (f"{tmp_path / 'gone'}: no such folder",)
