"""MRBrainS18 (https://mrbrains18.isi.uu.nl): `<subject>/pre/<contrast>.nii.gz` and `<subject>/segm.nii.gz`."""

from pathlib import Path

from trainables.cohorts.cohort import Listing, Scan, Subject

CONTRASTS = ("reg_T1", "FLAIR", "reg_IR", "T1", "IR")
CLASS_NAMES = {
    0: "background",
    1: "cortical grey matter",
    2: "basal ganglia",
    3: "white matter",
    4: "white-matter lesions",
    5: "extracerebral CSF",
    6: "ventricles",
    7: "cerebellum",
    8: "brain stem",
}
INFARCTION_AND_OTHER = frozenset({9, 10})


def read(path: Path, contrast: str | None = None) -> Listing:
    """Lists every folder of `path` as one subject with one scan.

    Args:
        contrast: file name under `pre/` without its ending; reg_T1 (T1 registered to FLAIR) by default.
    """
    contrast = contrast or CONTRASTS[0]
    if not path.is_dir():
        return Listing((), problems=(f"{path}: no such folder",))
    if contrast not in CONTRASTS:
        return Listing((), problems=(f"{path}: no contrast {contrast!r}; MRBrainS18 has {', '.join(CONTRASTS)}",))
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    scans = [Scan(each.name, each / "pre" / f"{contrast}.nii.gz", each / "segm.nii.gz") for each in folders]
    subjects = tuple(Subject(scan.id, (scan,)) for scan in scans)
    problems = () if subjects else (f"{path}: no subject folder",)
    return Listing(subjects, CLASS_NAMES, INFARCTION_AND_OTHER, problems)
