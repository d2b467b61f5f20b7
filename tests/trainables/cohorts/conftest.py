"""Small NIfTI files for the cohort tests."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


@pytest.fixture
def nifti() -> Callable[..., Path]:
    return write_nifti


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    """Writes a MedicalNet cohort of `count` subjects (10 x 12 x 8 voxels, labels 0 1 2) and returns its list."""

    def write(count: int = 3) -> Path:
        for number in range(count):
            rng = np.random.default_rng(number)
            labels = np.zeros((10, 12, 8), dtype=np.uint8)
            labels[2:5, 3:9, 2:6], labels[5:8, 3:9, 2:6] = 1, 2
            write_nifti(tmp_path / f"image/s{number}.nii.gz", rng.normal(5, 1, labels.shape).astype(np.float32))
            write_nifti(tmp_path / f"label/s{number}.nii.gz", labels)
        file = tmp_path / "list.txt"
        file.write_text("".join(f"image/s{n}.nii.gz label/s{n}.nii.gz\n" for n in range(count)))
        return file

    return write
