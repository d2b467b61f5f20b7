"""Lethe's procedural brain cohort: `phantom:` or `phantom:DxHxW[,SUBJECTS][,seed=SEED]`, written, then read."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.cache_entries import cached, caching
from trainables.cohorts.cache import cache_dir
from trainables.cohorts.cohort import Listing
from trainables.cohorts.parallel import map_parallel
from trainables.cohorts.phantom.imaging import scan
from trainables.cohorts.phantom.person import draw_person
from trainables.cohorts.readers import mrbrains18
from trainables.seeds import seed_for

VERSION = 1
"""Of the anatomy and the imaging; a higher one makes every cohort written before stale."""
GRAMMAR = (
    "DxHxW[,SUBJECTS][,seed=SEED] is needed: 16 to 512 voxels down, back to front and left to right, and 1 to "
    "999 subjects, as in 48x240x240,7 (MRBrainS18's size) or 24x48x48,12,seed=1"
)
_PATTERN = re.compile(r"(\d{1,3})x(\d{1,3})x(\d{1,3})(?:,(\d{1,3}))?(?:,seed=(\d{1,9}))?")


def read(path: Path, contrast: str | None = None) -> Listing:
    """Writes the cohort that `path` specifies (see `GRAMMAR`) into the cache, and reads it as MRBrainS18."""
    try:
        spec = parse_spec(str(path))
    except ValueError as error:
        return Listing((), problems=(str(error),))
    return mrbrains18.read(phantom_folder(spec, cache_dir()), contrast)


@dataclass(frozen=True)
class Spec:
    """A phantom cohort in three numbers; the defaults are Lethe's default cohort.

    The field of view is always MRBrainS18's 144 x 230 x 230 mm, along the (D, H, W) of `shape`. With the same seed a
    cohort of fewer subjects is the beginning of one of more.
    """

    shape: tuple[int, int, int] = (24, 48, 48)
    subjects: int = 12
    seed: int = 0


def parse_spec(text: str) -> Spec:
    """What `GRAMMAR` says; "" and "." (an empty path) are the default cohort.

    Raises:
        ValueError: explaining the grammar.
    """
    if text in ("", "."):
        return Spec()
    match = _PATTERN.fullmatch(text)
    if match:
        depth, height, width = (int(size) for size in match.group(1, 2, 3))
        spec = Spec((depth, height, width), int(match[4] or Spec.subjects), int(match[5] or Spec.seed))
        if min(spec.shape) >= 16 and max(spec.shape) <= 512 and spec.subjects >= 1:
            return spec
    raise ValueError(f"phantom:{text}: {GRAMMAR}")


def phantom_folder(spec: Spec, cache: Path) -> Path:
    """The cohort's folder under `cache`, written unless it is there; any number of processes may ask at once."""
    size = "x".join(map(str, spec.shape))
    folder = cache / "phantoms" / f"{size},{spec.subjects},seed={spec.seed},v{VERSION}"
    if cached(folder):
        return folder
    with caching(folder) as temporary:
        map_parallel(lambda i: _write_subject(temporary, spec, i), range(spec.subjects), "Drawing phantoms")
    return folder


def _write_subject(folder: Path, spec: Spec, position: int) -> None:
    """Writes the files of one subject; T1 and IR lie on FLAIR's grid, so their registered versions are copies."""
    subject = folder / f"{position + 1:03d}"
    pre = subject / "pre"
    pre.mkdir(parents=True)
    scans = scan(draw_person(spec.seed, position), spec.shape, seed_for(spec.seed, f"phantom scanner {position}"))
    for contrast, image in scans.images.items():
        _write(pre / f"{contrast}.nii.gz", image, scans.affine)
    for contrast in ("T1", "IR"):
        shutil.copyfile(pre / f"{contrast}.nii.gz", pre / f"reg_{contrast}.nii.gz")
    _write(subject / "segm.nii.gz", scans.labels, scans.affine)


def _write(file: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Saves a (D, H, W) volume as a NIfTI file of (W, H, D); nibabel leaves name and time out of the gzip header."""
    import nibabel  # only who writes needs it

    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, file)
