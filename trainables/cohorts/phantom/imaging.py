"""What a scanner makes of a head: contrasts, partial volume, bias field, Rician noise and a scale of its own."""

from dataclasses import dataclass

import numpy as np

from trainables.cohorts.phantom.anatomy import Tissue, tissues
from trainables.cohorts.phantom.person import INFARCTION, OTHER, Person
from trainables.cohorts.phantom.shapes import draw_waves
from trainables.seeds import seed_for

FIELD_OF_VIEW_MM = np.array([144.0, 230.0, 230.0])
"""Along (D, H, W), MRBrainS18's: 48 slices of 3 mm, 240 x 240 voxels of 0.958 mm."""
CENTRE_MM = np.array([5.0, -1.0, 0.0])
"""Middle of the field of view along (D, H, W), in millimetres from the middle of the head."""
FINEST_MM = 2.0
"""A voxel larger than this is the average over points about this far apart."""

CONTRASTS = ("T1", "IR", "FLAIR")
# label, then the intensity in each contrast, white matter in T1 = 1. IR is shown phase-sensitive: CSF darkest.
APPEARANCE = {
    Tissue.AIR: (0, 0.0, 0.0, 0.0),
    Tissue.BONE: (0, 0.08, 0.05, 0.06),
    Tissue.MARROW: (0, 0.65, 0.55, 0.35),
    Tissue.FAT: (0, 1.25, 1.1, 0.75),
    Tissue.MUSCLE: (0, 0.45, 0.35, 0.4),
    Tissue.EYE: (0, 0.2, 0.1, 0.15),
    Tissue.CSF: (5, 0.2, 0.06, 0.14),
    Tissue.CORTEX: (1, 0.62, 0.45, 0.8),
    Tissue.DEEP_GREY: (2, 0.72, 0.58, 0.76),
    Tissue.WHITE: (3, 1.0, 1.0, 0.62),
    Tissue.LESION: (4, 0.7, 0.6, 1.2),
    Tissue.VENTRICLE: (6, 0.18, 0.05, 0.12),
    Tissue.CEREBELLAR_CORTEX: (7, 0.62, 0.48, 0.76),
    Tissue.CEREBELLAR_WHITE: (7, 0.92, 0.9, 0.62),
    Tissue.STEM: (8, 0.9, 0.85, 0.64),
    Tissue.INFARCTION: (INFARCTION, 0.3, 0.15, 0.4),
    Tissue.OTHER: (OTHER, 0.5, 0.35, 1.0),
}
LABELS = np.array([APPEARANCE[tissue][0] for tissue in Tissue], np.uint8)
INTENSITIES = np.array([APPEARANCE[tissue][1:] for tissue in Tissue], np.float32).T


@dataclass(frozen=True)
class Scans:
    """One subject's volumes, all on the same grid.

    Attributes:
        images: contrast -> (D, H, W) int16.
        labels: (D, H, W) uint8, MRBrainS18's values 0 to 10.
        affine: (4, 4) from array index (W, H, D) to millimetres (right, front, up).
    """

    images: dict[str, np.ndarray]
    labels: np.ndarray
    affine: np.ndarray


def scan(person: Person, shape: tuple[int, int, int], seed: int) -> Scans:
    """The three contrasts and the label map of a subject.

    The same person at another shape (D, H, W) is the same anatomy in the same field of view; only the noise is drawn
    anew. The seed is that of the scanner: its scale, contrasts, bias field and noise.
    """
    spacing = FIELD_OF_VIEW_MM / shape
    signals, labels = _sample(person, shape, spacing, _contrasts(seed))
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = (CENTRE_MM - spacing * (np.array(shape) - 1) / 2)[::-1]
    pairs = zip(CONTRASTS, signals, strict=True)
    images = {contrast: _acquire(signal, affine, seed_for(seed, contrast)) for contrast, signal in pairs}
    return Scans(images, labels, affine)


def _contrasts(seed: int) -> np.ndarray:
    """`INTENSITIES` as this scanner shows them, (3, tissues)."""
    factors = np.random.default_rng(seed_for(seed, "tissues")).uniform(0.95, 1.05, INTENSITIES.shape)
    return INTENSITIES * factors.astype(np.float32)


def _sample(
    person: Person, shape: tuple[int, int, int], spacing_mm: np.ndarray, intensities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Signals (3, D, H, W) averaged over the points of each voxel, and the label most of them have."""
    factors = np.maximum(1, np.rint(spacing_mm / FINEST_MM)).astype(int)
    z, y, x = (
        ((np.arange(n * f) + 0.5) / (n * f) - 0.5) * n * mm + centre
        for n, f, mm, centre in zip(shape, factors, spacing_mm, CENTRE_MM, strict=True)
    )
    signals = np.empty((len(CONTRASTS), *shape), np.float32)
    labels = np.empty(shape, np.uint8)
    blocks = (factors[0], shape[1], factors[1], shape[2], factors[2])
    for slab in range(shape[0]):  # one slice at a time: a full-size head would not fit the processor's cache
        heights = z[slab * factors[0] : (slab + 1) * factors[0]]
        points = np.stack(np.meshgrid(x, y, heights, indexing="ij")).transpose(0, 3, 2, 1)
        tissue = tissues(np.ascontiguousarray(points, np.float32), person)
        signals[:, slab] = intensities[:, tissue].reshape(-1, *blocks).mean(axis=(1, 3, 5))
        named = LABELS[tissue].reshape(blocks)
        present = np.unique(named)
        votes = np.stack([np.count_nonzero(named == label, axis=(0, 2, 4)) for label in present])
        labels[slab] = present[votes.argmax(axis=0)]
    return signals, labels


def _acquire(signal: np.ndarray, affine: np.ndarray, seed: int) -> np.ndarray:
    """A (D, H, W) signal as the scanner stores it: int16, in units that mean nothing."""
    rng = np.random.default_rng(seed)
    bias = draw_waves(rng, 4, (250, 500), 0.12)
    indices = np.meshgrid(*map(np.arange, signal.shape), indexing="ij", sparse=True)
    grids = (index * affine[2 - axis, 2 - axis] + affine[2 - axis, 3] for axis, index in enumerate(indices))
    z, y, x = np.broadcast_arrays(*grids)
    signal = signal * np.exp(bias(np.stack([x, y, z]).astype(np.float32))[0])
    noise = rng.uniform(0.02, 0.04)
    real, imaginary = rng.normal(0, noise, (2, *signal.shape))
    scale = 10 ** rng.uniform(2.3, 4.1)
    magnitude = np.hypot(signal + real, imaginary)
    return np.rint(np.minimum(magnitude * scale, np.iinfo(np.int16).max)).astype(np.int16)
