"""Opens one 3-D volume of a NIfTI file in the canonical orientation; voxels are read on demand."""

import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

UNREADABLE = (OSError, EOFError, zlib.error, ValueError, ImageFileError, HeaderDataError, WrapStructError)
"""What nibabel raises on a missing, truncated or damaged file, and `open_volume` on a wrong shape."""


def open_volume(path: Path, channel: int = 0) -> Any:
    """Opens a volume as a nibabel image with axes (R, A, S).

    `channel` is read of a 4-D file, whose channels come last.

    Raises:
        ValueError: it is neither 3-D nor 4-D, has no such channel, or its affine gives no voxel size.
        OSError: it is missing or unreadable (any of `UNREADABLE`).
    """
    volume: Any = nib.load(path)
    if len(volume.shape) not in (3, 4) or 0 in volume.shape:
        raise ValueError(f"a 3-D or 4-D volume is needed, but its shape is {volume.shape}")
    channels = volume.shape[3] if len(volume.shape) == 4 else 1
    if channel >= channels:
        raise ValueError(f"channel {channel} is asked for, but it has {channels}")
    spacing = voxel_sizes(volume.affine)
    if not (np.isfinite(volume.affine).all() and (spacing > 0).all()):
        raise ValueError(f"its affine gives no voxel size ({spacing.tolist()} mm)")
    return nib.as_closest_canonical(volume.slicer[..., channel] if len(volume.shape) == 4 else volume)


def spacing_of(volume: Any) -> tuple[float, float, float]:
    """Voxel size of a canonical volume along (D, H, W) = (S, A, R), in millimetres."""
    right, anterior, superior = (float(size) for size in voxel_sizes(volume.affine))
    return superior, anterior, right
