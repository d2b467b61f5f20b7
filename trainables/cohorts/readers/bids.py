"""BIDS (https://bids-specification.readthedocs.io): `sub-*[/ses-*]/anat/*_T1w.nii.gz` with `*_dseg.nii.gz`."""

import csv
from pathlib import Path

from trainables.cohorts.cohort import Listing, Scan, Subject

DERIVED_ENTITIES = ("space", "res", "den", "seg", "atlas", "desc", "label")
"""Name parts that a label map may have beyond those of its image."""


def read(path: Path, contrast: str | None = None) -> Listing:
    """Lists every `sub-*` folder as one subject; each of its sessions and runs is a scan.

    A label map belongs to an image when its name has the image's parts and otherwise only
    `DERIVED_ENTITIES`. The one with the fewest of these is taken; of equals, the one beside the image.

    Args:
        contrast: suffix of the images; T1w by default.
    """
    if not path.is_dir():
        return Listing((), problems=(f"{path}: no such folder",))
    suffix = contrast or "T1w"
    folders = sorted(folder for folder in path.glob("sub-*") if folder.is_dir())
    problems = _unlisted(path / "participants.tsv", {folder.name for folder in folders})
    if not folders:
        problems.append(f"{path}: no sub-* folder")
    subjects = []
    for folder in folders:
        images = sorted([*folder.glob(f"anat/*_{suffix}.nii.gz"), *folder.glob(f"ses-*/anat/*_{suffix}.nii.gz")])
        if not images:
            problems.append(f"{folder.name} {folder}: no *_{suffix}.nii.gz in anat/ or ses-*/anat/")
        labels = {image: _label_of(image, path, folder.name) for image in images}
        problems += [f"{folder.name} {image}: {label}" for image, label in labels.items() if isinstance(label, str)]
        scans = [
            Scan(image.name.removesuffix(f"_{suffix}.nii.gz"), image, label)
            for image, label in labels.items()
            if isinstance(label, Path)
        ]
        if scans:
            subjects.append(Subject(folder.name, tuple(scans)))
    return Listing(tuple(subjects), problems=tuple(problems))


def _label_of(image: Path, root: Path, subject: str) -> Path | str:
    """The label map of an image, or what is wrong with the choice."""
    wanted = _entities(image)
    derived = root.glob(f"derivatives/*/{subject}/**/anat/*_dseg.nii.gz")
    ranked: dict[tuple[int, bool], list[Path]] = {}
    for label in sorted([*image.parent.glob("*_dseg.nii.gz"), *derived]):
        extra = _entities(label) - wanted
        if wanted <= _entities(label) and all(part.partition("-")[0] in DERIVED_ENTITIES for part in extra):
            ranked.setdefault((len(extra), label.parent != image.parent), []).append(label)
    if not ranked:
        return "no *_dseg.nii.gz beside it or under derivatives/"
    best = ranked[min(ranked)]
    return best[0] if len(best) == 1 else f"several label maps fit: {', '.join(map(str, best))}"


def _entities(file: Path) -> set[str]:
    """The `key-value` parts of a BIDS file name."""
    return set(file.name.split("_")[:-1])


def _unlisted(table: Path, folders: set[str]) -> list[str]:
    """Where participants.tsv and the sub-* folders disagree; a data set may come without the table."""
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        if "participant_id" not in (rows.fieldnames or ()):
            return [f"{table}: no column participant_id"]
        listed = {row["participant_id"] for row in rows}
    return [f"{name} {table}: listed, but has no folder" for name in sorted(listed - folders)] + [
        f"{name} {table}: has a folder, but is not listed" for name in sorted(folders - listed)
    ]
