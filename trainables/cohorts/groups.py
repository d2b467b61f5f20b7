"""Regroups the scans of a listing into subjects: `--groups FILE`, a CSV with columns scan,subject."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

from trainables.cohorts.cohort import Listing, Subject


def regroup(listing: Listing, groups: Path) -> Listing:
    """The same scans under the subjects of the file; what is wrong with the file joins the problems.

    Args:
        groups: CSV with columns `case` or `scan` (a scan id) and `subject`.
    """
    if not groups.is_file():
        return _with(listing, [f"{groups}: no such file (groups are needed)"])
    with groups.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines, restval="")
        key = next((name for name in ("case", "scan") if name in (rows.fieldnames or ())), None)
        if key is None or "subject" not in (rows.fieldnames or ()):
            return _with(listing, [f"{groups}: columns case,subject or scan,subject are needed"])
        pairs = [(row[key].strip(), row["subject"].strip()) for row in rows]
    subject_of = dict(pairs)
    scans = [scan for subject in listing.subjects for scan in subject.scans]
    known = [scan.id for scan in scans]
    problems = [f"{scan} {groups}: listed {n} times" for scan, n in Counter(s for s, _ in pairs).items() if n > 1]
    problems += [f"{scan} {groups}: has no subject" for scan, subject in pairs if not subject]
    problems += [f"{scan} {groups}: no such scan in the cohort" for scan in subject_of if scan not in known]
    problems += [f"{scan} {groups}: this scan is not listed" for scan in known if scan not in subject_of]
    if problems:
        return _with(listing, problems)
    subjects = tuple(
        Subject(name, tuple(scan for scan in scans if subject_of[scan.id] == name))
        for name in sorted(set(subject_of.values()))
    )
    return replace(listing, subjects=subjects)


def _with(listing: Listing, problems: list[str]) -> Listing:
    return replace(listing, problems=(*listing.problems, *problems))
