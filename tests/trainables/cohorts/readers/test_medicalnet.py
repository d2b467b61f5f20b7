from trainables.cohorts.readers.medicalnet import read


def test_relative_and_absolute_paths_comments_and_blank_lines(tmp_path):
    file = tmp_path / "train.txt"
    file.write_text(f"# all\n\nimage/b.nii.gz label/b.nii.gz # the second\n{tmp_path}/a.nii /x/a_label.nii\n")
    listing = read(file)
    assert not listing.problems
    assert [subject.id for subject in listing.subjects] == ["a", "b"]
    assert listing.subjects[0].scans[0].image == tmp_path / "a.nii"
    assert str(listing.subjects[0].scans[0].label) == "/x/a_label.nii"
    assert listing.subjects[1].scans[0].label == tmp_path / "label/b.nii.gz"
    assert not listing.class_names


def test_bad_lists_are_problems(tmp_path):
    file = tmp_path / "train.txt"
    file.write_text("only_one\na b c\nx y\n")
    problems = read(file, "T1").problems
    assert len(problems) == 3
    assert "'T1'" in problems[0]
    assert "line 1" in problems[1]
    assert "line 2" in problems[2]
    file.write_text("\n")
    assert "no `image label` line" in read(file).problems[0]
    assert "no such file" in read(tmp_path / "gone.txt").problems[0]
