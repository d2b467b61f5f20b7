"""The way back from the study's grid to a scan's own voxels: predictions that lie over the scan in any viewer."""

import nibabel as nib
import numpy as np
import torch
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from torch import Tensor

from trainables.cohorts.cohort import Scan
from trainables.cohorts.grid import Grid, size_on
from trainables.cohorts.volumes import open_volume, spacing_of

_CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])
"""The axes (R, A, S); `io_orientation` of a canonical affine may find others where a scan is turned by 45 degrees."""


def restore(scan: Scan, grid: Grid, probabilities: Tensor) -> nib.Nifti1Image:
    """The classes of a scan on its own voxels, with its affine and nothing else of its header.

    Args:
        scan: read for its shape, voxel size and orientation.
        grid: of the study.
        probabilities: (C, D, H, W) on the grid.

    Returns:
        An image of uint8 classes 0..C-1.
    """
    canonical, own = open_volume(scan.image, scan.channel), nib.load(scan.image)
    shape = canonical.shape[::-1]
    size = size_on(grid, shape, spacing_of(canonical))
    inner = probabilities
    for axis, (whole, part) in enumerate(zip(grid.shape, size, strict=True), 1):
        inner = inner.narrow(axis, (whole - part) // 2, part)
    if size != shape:
        inner = torch.nn.functional.interpolate(inner[None], size=shape, mode="trilinear", align_corners=False)[0]
    classes = inner.argmax(0).to(torch.uint8).cpu().numpy().transpose(2, 1, 0)
    back = ornt_transform(_CANONICAL, io_orientation(own.affine))
    image = nib.Nifti1Image(np.ascontiguousarray(apply_orientation(classes, back)), own.affine)
    image.header.set_xyzt_units("mm")
    return image
