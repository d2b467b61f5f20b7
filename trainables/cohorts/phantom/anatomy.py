"""A schematic human head: which tissue lies at which point of a subject's body.

The sizes are those of textbook neuroanatomy; the folding is not grown but cut: sulci are the zero lines of
band-limited noise on the cortical surface, carried inwards as thin walls of CSF.
"""

from enum import IntEnum

import numpy as np

from trainables.cohorts.phantom.person import OTHER, Person
from trainables.cohorts.phantom.shapes import blend, column, ellipsoid, length, tube

FOLD_RADIUS_MM = 70
"""The cortex is unrolled onto a sphere of this radius to draw its folds."""
SULCAL_DEPTH_MM = 13


class Tissue(IntEnum):
    """What a point of the head is made of."""

    AIR = 0
    BONE = 1
    MARROW = 2
    FAT = 3
    MUSCLE = 4
    EYE = 5
    CSF = 6
    CORTEX = 7
    DEEP_GREY = 8
    WHITE = 9
    LESION = 10
    VENTRICLE = 11
    CEREBELLAR_CORTEX = 12
    CEREBELLAR_WHITE = 13
    STEM = 14
    INFARCTION = 15
    OTHER = 16


LATERAL_VENTRICLE = (
    (9, 34, 7, 3.0),
    (9, 22, 15, 4.5),
    (11, 0, 21, 4.5),
    (14, -20, 20, 4.5),
    (22, -38, 11, 6.5),
    (24, -62, 4, 2.0),
)
TEMPORAL_HORN = ((23, -38, 8, 5.0), (32, -24, -10, 2.5), (31, -2, -17, 1.5))
CAUDATE = ((14, 27, 4, 6.5), (17, 10, 17, 5.0), (20, -10, 22, 3.5), (24, -26, 18, 2.0))
BRAIN_STEM = ((0, -12, -6, 12), (0, -14, -19, 11), (0, -16, -31, 14.5), (0, -24, -48, 9.5), (0, -32, -80, 7))


def tissues(points: np.ndarray, person: Person) -> np.ndarray:
    """The tissue at each point, (...) uint8, values of `Tissue`.

    Args:
        points: (3, ...) float32, scanner millimetres (right, front, up) from the middle of the head.
        person: the subject.
    """
    p = np.einsum("ij,j...->i...", person.pose[:, :3], points)
    p += person.pose[:, 3].reshape(3, *[1] * (points.ndim - 1))
    p += person.warp(p)
    mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
    cerebellum = _cerebellum(mirrored) - np.float32(person.cerebellum_mm)
    stem = tube(p, BRAIN_STEM)
    temporal = ellipsoid(mirrored, (42, 2, -20), (22, 44, 19))
    cerebrum = _cerebrum(mirrored, temporal)
    cranium = blend(blend(cerebrum, cerebellum, 8), stem, 8) - np.float32(1.0 + person.atrophy_mm)
    cerebrum = np.maximum(cerebrum, 2 - cerebellum)  # the tentorium lies between the two
    tissue = _outside_the_brain(mirrored, cranium)
    inside = cranium < 0  # a fifth of the points: the folds are not worked out for the others
    parts = (field[inside] for field in (cerebrum, temporal, cerebellum, stem))
    tissue[inside] = _inside_the_cranium(person, p[:, inside], *parts)
    return tissue


def _cerebrum(mirrored: np.ndarray, temporal: np.ndarray) -> np.ndarray:
    """Distance to the hull of the cerebrum: an egg with its blunt end behind, a flat base, temporal lobes."""
    egg = mirrored.copy()
    egg[0] *= 1 + np.float32(0.0012) * (mirrored[1] + 20)
    upper = ellipsoid(egg, (0, -2, 4), (67, 85, 59))
    return blend(-blend(-upper, mirrored[2] + 13, 14), temporal, 5)


def _cerebellum(mirrored: np.ndarray) -> np.ndarray:
    hemisphere = ellipsoid(mirrored, (25, -52, -36), (28, 29, 21))
    vermis = ellipsoid(mirrored, (0, -50, -32), (12, 25, 19))
    return blend(hemisphere, vermis, 6)


def _outside_the_brain(mirrored: np.ndarray, cranium: np.ndarray) -> np.ndarray:
    face = ellipsoid(mirrored, (0, 34, -62), (56, 58, 62))
    neck = ellipsoid(mirrored, (0, -22, -95), (60, 66, 70))
    head = blend(blend(cranium - 13, face, 20), neck, 20)
    tissue = np.zeros(mirrored.shape[1:], np.uint8)
    tissue[head < 0] = Tissue.FAT
    tissue[head < -4.5] = Tissue.MUSCLE
    tissue[cranium < 13] = Tissue.FAT
    tissue[head > 0] = Tissue.AIR
    orbit = ellipsoid(mirrored, (32, 72, -34), (19, 22, 18))
    tissue[(orbit < 0) & (head < -3)] = Tissue.FAT
    tissue[(ellipsoid(mirrored, (32, 76, -34), (12, 12, 12)) < 0) & (head < -2)] = Tissue.EYE
    tissue[ellipsoid(mirrored, (0, 66, -52), (17, 26, 20)) < 0] = Tissue.AIR  # nose and sinuses
    tissue[(cranium < 7) & (tissue != Tissue.AIR)] = Tissue.BONE
    tissue[(cranium < 5) & (cranium > 2.5) & (mirrored[2] > -10)] = Tissue.MARROW
    return tissue


def _inside_the_cranium(
    person: Person,
    p: np.ndarray,
    cerebrum: np.ndarray,
    temporal: np.ndarray,
    cerebellum: np.ndarray,
    stem: np.ndarray,
) -> np.ndarray:
    """The tissue at points p, given their distances to four solids; CSF where it is nothing else."""
    tissue = np.full(cerebrum.shape, Tissue.CSF, np.uint8)
    _paint_cerebrum(tissue, p, cerebrum, temporal, person)
    _paint_hindbrain(tissue, p, cerebellum, stem)
    if person.focal:
        label, centre, radius = person.focal
        here = (ellipsoid(p, centre, (radius, 1.3 * radius, radius)) < 0) & (cerebrum < 0)
        tissue[here] = Tissue.OTHER if label == OTHER else Tissue.INFARCTION
    return tissue


def _paint_cerebrum(
    tissue: np.ndarray, p: np.ndarray, cerebrum: np.ndarray, temporal: np.ndarray, person: Person
) -> None:
    """Cortex, white matter, deep grey matter, ventricles and lesions, each over the ones before."""
    mirrored = np.stack([np.abs(p[0]), p[1], p[2]])
    x, _, z = mirrored
    callosum = ellipsoid(mirrored * column((0, 1, 1), p), (0, -6, 5), (1e6, 43, 25))
    core = ellipsoid(mirrored, (0, -6, 0), (40, 50, 36))
    fissure = np.maximum(x - np.float32(person.sulcus_mm + 0.4), -callosum)
    sylvian = np.maximum(np.abs(temporal) - np.float32(person.sulcus_mm + 0.6), -cerebrum - 23)
    sulci = np.minimum(_sulcal_gap(p, cerebrum, person), np.maximum(sylvian, -18 - z))
    pia = np.minimum(-cerebrum, np.minimum(fissure, np.maximum(sulci, -core)))
    tissue[(cerebrum < 0) & (pia > 0)] = Tissue.CORTEX
    tissue[(cerebrum < 0) & (pia > person.cortex_mm)] = Tissue.WHITE
    tissue[(callosum < 0) & (callosum > -6.5) & (x < 14) & (z > 0)] = Tissue.WHITE
    lateral = blend(tube(mirrored, LATERAL_VENTRICLE), tube(mirrored, TEMPORAL_HORN), 4)
    lateral -= person.ventricle_mm + person.asymmetry_mm * np.tanh(p[0] / 5)
    deep = np.minimum(tube(mirrored, CAUDATE), ellipsoid(mirrored, (26, 3, 1), (6.5, 18, 11)))
    deep = np.minimum(deep, ellipsoid(mirrored, (11, -15, 6), (9, 16, 9)))
    tissue[(deep < person.deep_mm) & (cerebrum < 0)] = Tissue.DEEP_GREY
    third = ellipsoid(mirrored, (0, -8, 2), (2 + 0.5 * max(person.ventricle_mm, 0), 15, 12))
    tissue[np.minimum(np.maximum(lateral, 1 - x), third) < 0] = Tissue.VENTRICLE
    for centre, radius in person.lesions:
        tissue[(ellipsoid(p, centre, (radius, 1.4 * radius, radius)) < 0) & (tissue == Tissue.WHITE)] = Tissue.LESION


def _sulcal_gap(p: np.ndarray, cerebrum: np.ndarray, person: Person) -> np.ndarray:
    """Distance to the nearest sulcus: a radial wall through the zero lines of the folding waves."""
    depth, *bend = person.sulci(p)
    outward = (p - column((0, -4, 0), p)) / column((67, 85, 60), p)
    level = length(outward)
    outward /= np.maximum(level, np.float32(1e-3))
    value, gradient = person.folds.with_gradient(FOLD_RADIUS_MM * outward + np.stack(bend))
    gradient -= outward * np.einsum("i...,i...->...", gradient, outward)
    steepness = length(gradient)
    wall = level * np.abs(value) / np.maximum(steepness, np.float32(1e-3))
    return np.maximum(wall - np.float32(person.sulcus_mm), -cerebrum - SULCAL_DEPTH_MM - depth)


def _paint_hindbrain(tissue: np.ndarray, p: np.ndarray, cerebellum: np.ndarray, stem: np.ndarray) -> None:
    """Cerebellum with its tree of white matter, brain stem, and the fourth ventricle between them."""
    _, y, z = p
    tissue[cerebellum < 0] = Tissue.CEREBELLAR_CORTEX
    branches = np.cos(9 * np.arctan2(z + 34, y + 40))
    tissue[cerebellum < -8 - 4 * branches] = Tissue.CEREBELLAR_WHITE
    tissue[stem < 0] = Tissue.STEM
    tissue[ellipsoid(p, (0, -31, -33), (5, 4, 10)) < 0] = Tissue.VENTRICLE
