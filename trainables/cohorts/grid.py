"""Preprocessing: every scan of a cohort on one grid, z-scored, its labels numbered 0..C-1; and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import nibabel as nib
import numpy as np
import torch
from monai.transforms import ResizeWithPadOrCrop
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from scipy.ndimage import gaussian_filter
from torch import Tensor

from trainables.cohorts.cohort import Scan
from trainables.cohorts.label_map import ClassTable
from trainables.cohorts.volumes import open_volume, spacing_of

SPACING_TOLERANCE = 0.01
"""A scan whose voxel size is within 1 % of the grid's is not resampled."""
MULTIPLE = 8
"""The network's output stride, to which a default shape is rounded up."""
_CANONICAL = np.array([[0, 1], [1, 1], [2, 1]])
"""The axes (R, A, S); `io_orientation` of a canonical affine may find others where a scan is turned by 45 degrees."""


@dataclass(frozen=True)
class Grid:
    """The study's grid: voxels and voxel size along (D, H, W) = (superior, anterior, right)."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


def study_grid(
    shapes: Sequence[tuple[int, ...]],
    spacings_mm: Sequence[tuple[float, ...]],
    shape: tuple[int, int, int] | None = None,
) -> Grid:
    """The grid that holds every scan whole.

    Its spacing is the cohort's median per axis, coarser where the given shape would not hold the largest
    scan at it; without a given shape it is that scan's extent, rounded up to a multiple of 8. All along (D, H, W).
    """
    median = np.median(spacings_mm, axis=0)
    # rounded, so that float32 voxel sizes do not push 40 voxels to 40.0000002 and the grid to 48
    extent = np.round((np.array(shapes) * np.array(spacings_mm)).max(axis=0) / median, 3)
    depth, height, width = shape or (ceil(size / MULTIPLE) * MULTIPLE for size in extent.tolist())
    spacing = median * np.maximum(1, extent / (depth, height, width))
    return Grid((depth, height, width), (float(spacing[0]), float(spacing[1]), float(spacing[2])))


def prepare_scan(scan: Scan, grid: Grid, table: ClassTable) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map of a scan on the grid.

    The float32 image is z-scored over its non-zero voxels; what lies outside the scan is 0 and background.
    """
    image_volume, label_volume = open_volume(scan.image, scan.channel), open_volume(scan.label)
    image = np.asanyarray(image_volume.dataobj).astype(np.float32).transpose(2, 1, 0)
    raw = np.rint(np.asanyarray(label_volume.dataobj)).astype(np.int64).transpose(2, 1, 0)
    values, positions = np.unique(raw, return_inverse=True)
    labels = np.array([table.index[int(value)] for value in values], dtype=np.uint8)[positions].reshape(raw.shape)
    size = size_on(grid, image.shape, spacing_of(image_volume))
    if size != image.shape:
        image, labels = resample_image(image, size), resample_labels(labels, size)
    fit = ResizeWithPadOrCrop(grid.shape)
    return np.asarray(fit(z_score(image)[None]))[0], np.asarray(fit(np.ascontiguousarray(labels)[None]))[0]


def size_on(grid: Grid, shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> tuple[int, ...]:
    """Voxels along (D, H, W) that a scan takes on the grid; its own where nothing needs resampling."""
    return tuple(
        voxels
        if voxels <= limit and abs(mine / wanted - 1) <= SPACING_TOLERANCE
        else min(limit, max(1, round(voxels * mine / wanted)))
        for voxels, mine, limit, wanted in zip(shape, spacing_mm, grid.shape, grid.spacing_mm, strict=True)
    )


def z_score(image: np.ndarray) -> np.ndarray:
    """The image with mean 0 and standard deviation 1 over its non-zero voxels; zeros stay.

    In double precision on one thread: MONAI's NormalizeIntensity gives other last bits on another number of cores.
    """
    voxels = image[image != 0].astype(np.float64)
    scored = np.zeros(image.shape, np.float32)
    scored[image != 0] = (voxels - voxels.mean()) / (voxels.std() or 1.0)
    return scored


def resample_image(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation of a (D, H, W) image, smoothed first along the axes that get coarser.

    The Gaussian is skimage's and MONAI's, sigma = (factor - 1) / 2; scipy's, because MONAI's pads with zeros
    and darkens the faces of a tight crop.
    """
    sigma = [max(0.0, (old / new - 1) / 2) for old, new in zip(image.shape, size, strict=True)]
    smooth = gaussian_filter(image, sigma, mode="nearest")
    return _linear(torch.from_numpy(smooth)[None], size)[0].numpy()


def resample_labels(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The class with the largest linearly interpolated share at each voxel of a (D, H, W) label map.

    From 120 x 120 x 90 to 64 x 64 x 48 this kept thin structures best of four ways measured: nearest is
    jagged, averaging over the voxel loses a fifth of the ventricles' volume and two fifths of the CSF's.
    """
    best = np.zeros(size, dtype=np.float32)
    classes = np.zeros(size, dtype=np.uint8)
    for value in np.unique(labels):
        share = _linear(torch.from_numpy((labels == value).astype(np.float32))[None], size)[0].numpy()
        classes[share > best] = value
        np.maximum(best, share, out=best)
    return classes


def restore(scan: Scan, grid: Grid, probabilities: Tensor) -> nib.Nifti1Image:
    """The uint8 classes of (C, D, H, W) probabilities on a scan's own voxels, to lie over the scan in any viewer.

    The image has the scan's affine and nothing else of its header.
    """
    canonical, own = open_volume(scan.image, scan.channel), nib.load(scan.image)
    shape = canonical.shape[::-1]
    size, inner = size_on(grid, shape, spacing_of(canonical)), probabilities
    for axis, (whole, part) in enumerate(zip(grid.shape, size, strict=True), 1):
        inner = inner.narrow(axis, (whole - part) // 2, part)
    if size != shape:
        inner = _linear(inner, shape)
    classes = inner.argmax(0).to(torch.uint8).cpu().numpy().transpose(2, 1, 0)
    back = ornt_transform(_CANONICAL, io_orientation(own.affine))
    image = nib.Nifti1Image(np.ascontiguousarray(apply_orientation(classes, back)), own.affine)
    image.header.set_xyzt_units("mm")
    return image


def _linear(channels: Tensor, size: tuple[int, ...]) -> Tensor:
    """(C, D, H, W) at another size of (D, H, W)."""
    return torch.nn.functional.interpolate(channels[None], size=size, mode="trilinear", align_corners=False)[0]
