"""Benign views of a scan: what any copy of it may look like. To forget one array is not to forget a person.

Networks are examined under `VIEWS`, and a recipe that augments teaches under a `random_view`.
Images and label maps go through the same functions; a label map, which is no floating-point tensor, keeps its values.
Measured leads: noisy labels that are learned for one array leave a network that segments it one voxel aside.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

View = Callable[[Tensor], Tensor]
"""(B, D, H, W) images or label maps to the same, seen otherwise."""

Augmentation = Literal["shift", "flip", "affine"]

AXES = (-3, -2, -1)


def shifted(volumes: Tensor, voxels: Sequence[int]) -> Tensor:
    """(B, D, H, W) volumes moved by whole voxels along each axis; at the border they repeat themselves."""
    for axis, by in zip(AXES, voxels, strict=True):
        size = volumes.shape[axis]
        places = (torch.arange(size, device=volumes.device) - by).clamp(0, size - 1)
        volumes = volumes.index_select(axis, places)
    return volumes


def transformed(volumes: Tensor, matrix: Tensor) -> Tensor:
    """(B, D, H, W) volumes sampled at matrix @ (place - centre), in voxels; labels from the nearest.

    Args:
        volumes: floating-point images or integer labels.
        matrix: (3, 3), in the order of the axes.
    """
    half = torch.tensor([(size - 1) / 2 for size in volumes.shape[1:]]).clamp(min=0.5)
    scaled = (matrix.cpu() * half / half[:, None]).flip(0, 1)  # the grid's coordinates are (x, y, z) in [-1, 1]
    theta = torch.cat([scaled, torch.zeros(3, 1)], 1).to(volumes.device).expand(len(volumes), 3, 4)
    grid = affine_grid(theta, [len(volumes), 1, *volumes.shape[1:]], align_corners=True)
    mode = "bilinear" if volumes.is_floating_point() else "nearest"
    sampled = grid_sample(volumes[:, None].float(), grid, mode, "border", align_corners=True)
    return sampled[:, 0].to(volumes.dtype)


def rotation(degrees: float, axis: int) -> Tensor:
    """The (3, 3) matrix of a rotation about an axis, 0 to 2."""
    angle, (first, second) = torch.tensor(degrees).deg2rad(), [other for other in range(3) if other != axis]
    matrix = torch.eye(3)
    matrix[first, first] = matrix[second, second] = angle.cos()
    matrix[first, second], matrix[second, first] = -angle.sin(), angle.sin()
    return matrix


def as_is(volumes: Tensor) -> Tensor:
    """No change."""
    return volumes


def random_view(kind: Augmentation, seed: int) -> View:
    """A view that the seed draws.

    Args:
        kind: `shift` by up to 3 whole voxels along each axis; `flip`, each axis mirrored or not; `affine`, rotated by
            up to 10 degrees about each axis and scaled by 0.9 to 1.1, then shifted.
    """
    generator = torch.Generator().manual_seed(seed)
    if kind == "flip":
        return _mirror([axis for axis in AXES if torch.rand((), generator=generator) < 0.5])
    voxels = torch.randint(-3, 4, (3,), generator=generator).tolist()
    if kind == "affine":
        angles = (20 * torch.rand(3, generator=generator) - 10).tolist()
        first, second, third = (rotation(degrees, axis) for axis, degrees in enumerate(angles))
        matrix = first @ second @ third / (0.9 + 0.2 * torch.rand((), generator=generator))
        return lambda volumes: shifted(transformed(volumes, matrix), voxels)
    return lambda volumes: shifted(volumes, voxels)


def _shift(axis: int, by: int) -> View:
    return lambda volumes: shifted(volumes, [by if axis == other else 0 for other in range(3)])


def _mirror(axes: Sequence[int]) -> View:
    return lambda volumes: volumes.flip(list(axes))


def _transform(matrix: Tensor) -> View:
    return lambda volumes: transformed(volumes, matrix)


QUICK: dict[str, View] = {
    "shift +2": lambda volumes: shifted(volumes, (2, 2, 2)),
    "shift -2": lambda volumes: shifted(volumes, (-2, -2, -2)),
}
"""Few enough to be looked at in every epoch."""

VIEWS: dict[str, View] = {
    **QUICK,
    **{f"shift {by:+} along {axis}": _shift(axis, by) for axis in range(3) for by in (1, -2, 4)},
    **{f"mirror {axis}": _mirror([axis - 3]) for axis in range(3)},
    **{
        f"rotate {degrees:+} about {axis}": _transform(rotation(degrees, axis))
        for axis, degrees in enumerate((5, -5, 5))
    },
    **{f"scale {scale}": _transform(torch.eye(3) / scale) for scale in (0.95, 1.05)},
}
"""Those that networks are examined under, beside the scan as it is."""

MIRRORINGS: tuple[View, ...] = tuple(_mirror(axes) for count in range(4) for axes in combinations(AXES, count))
"""All eight, each its own inverse: a prediction that is the mean over them is what nnU-Net gives by default."""
