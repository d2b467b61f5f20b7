from pathlib import Path

import pytest

from trainables.cohorts.cohort import Listing, Scan, Subject
from trainables.cohorts.open_cohort import regroup

SCANS = [Scan(name, Path(f"{name}.nii"), Path(f"{name}_l.nii")) for name in "abc"]
LISTING = Listing(tuple(Subject(scan.id, (scan,)) for scan in SCANS))


@pytest.mark.parametrize("header", ["case,subject", "scan,subject", "subject,case"])
def test_scans_move_to_their_subjects(tmp_path, header):
    file = tmp_path / "groups.csv"
    pairs = [("c", "p1"), ("a", "p1"), ("b", "p0")]
    rows = [pair[::-1] if header.startswith("subject") else pair for pair in pairs]
    file.write_text("\n".join([header, *map(",".join, rows)]))
    listing = regroup(LISTING, file)
    assert not listing.problems
    assert [(subject.id, [scan.id for scan in subject.scans]) for subject in listing.subjects] == [
        ("p0", ["b"]),
        ("p1", ["a", "c"]),
    ]


def test_all_problems_at_once(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("case,subject\na,p\na,q\nz,p\nb,\n")
    problems = regroup(LISTING, file).problems
    assert len(problems) == 4
    for scan, words in {"a": "2 times", "z": "no such scan", "b": "no subject", "c": "not listed"}.items():
        assert any(line.startswith(f"{scan} {file}") and words in line for line in problems)


def test_a_file_that_groups_nothing(tmp_path):
    file = tmp_path / "groups.csv"
    assert "no such file" in regroup(LISTING, file).problems[0]
    file.write_text("id,person\na,p\n")
    assert "columns case,subject" in regroup(LISTING, file).problems[0]
