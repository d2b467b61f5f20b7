"""A reader: what a cohort's layout on disk means."""

from pathlib import Path

from trainables.cohorts.cohort import Listing, Scan, Subject


def read_pairs(path: Path, contrast: str | None = None) -> Listing:
    """Lists every `NAME_image.nii.gz` of a folder that has a `NAME_label.nii.gz` beside it, one subject each.

    Args:
        path: the folder.
        contrast: has no meaning here.
    """
    images = sorted(path.glob("*_image.nii.gz"))
    pairs = [(image, image.with_name(image.name.replace("_image", "_label"))) for image in images]
    problems = [f"{image}: no {label.name} beside it" for image, label in pairs if not label.is_file()]
    names = [image.name.removesuffix("_image.nii.gz") for image in images]
    subjects = [Subject(name, (Scan(name, *pair),)) for name, pair in zip(names, pairs, strict=True)]
    if not subjects:
        problems.append(f"{path}: no *_image.nii.gz")
    return Listing(tuple(subjects), problems=tuple(problems))
