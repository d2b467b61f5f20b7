"""MedicalNet's list file (https://github.com/Tencent/MedicalNet): one `image label` pair a line."""

from pathlib import Path

from trainables.cohorts.cohort import Listing, Scan, Subject


def read(path: Path, contrast: str | None = None) -> Listing:
    """Lists every line of a text file as one subject with one scan, named after the image file.

    Its paths are absolute or relative to its folder; # starts a comment. There is no contrast to choose.
    """
    if not path.is_file():
        return Listing((), problems=(f"{path}: no such file (a list of `image label` lines is needed)",))
    problems = [f"{path}: a list file has no contrast to choose, but {contrast!r} was given"] if contrast else []
    subjects = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        names = line.partition("#")[0].split()
        if len(names) == 2:
            image, label = (path.parent / name for name in names)
            identity = image.name.removesuffix(".gz").removesuffix(".nii")
            subjects.append(Subject(identity, (Scan(identity, image, label),)))
        elif names:
            problems.append(f"{path}, line {number}: `image label` is needed, but it has {len(names)} words")
    if not subjects:
        problems.append(f"{path}: no `image label` line")
    return Listing(tuple(sorted(subjects, key=lambda subject: subject.id)), problems=tuple(problems))
