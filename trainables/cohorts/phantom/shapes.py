"""Signed distances to simple solids and random band-limited waves, from which the anatomy is put together.

Points are (3, ...) float32 in millimetres: x to the right, y to the front, z up. Distances are millimetres,
negative inside; those to ellipsoids and blends are approximate.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Waves:
    """A sum of plane waves, a smooth function of space.

    Attributes:
        vectors: (N, 3) wave vectors, radians per millimetre.
        phases: (N,) radians.
        amplitudes: (K, N) weight of each wave in each of K components.
    """

    vectors: np.ndarray
    phases: np.ndarray
    amplitudes: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """The K components at the points, (K, ...)."""
        return np.einsum("kn,n...->k...", self.amplitudes, np.sin(self._angles(points)))

    def with_gradient(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first component (...) and its gradient (3, ...), per millimetre."""
        angles, first = self._angles(points), self.amplitudes[0]
        slopes = first * self.vectors.T
        return np.einsum("n,n...->...", first, np.sin(angles)), np.einsum("in,n...->i...", slopes, np.cos(angles))

    def _angles(self, points: np.ndarray) -> np.ndarray:
        # einsum and not @: BLAS may round differently from one number of threads to the next
        return np.einsum("ni,i...->n...", self.vectors, points) + self.phases.reshape(-1, *[1] * (points.ndim - 1))


def draw_waves(
    rng: np.random.Generator, number: int, wavelengths_mm: tuple[float, float], rms: float, components: int = 1
) -> Waves:
    """Waves in random directions, whose sum has this root mean square in every component."""
    directions = rng.normal(size=(number, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = rng.uniform(*wavelengths_mm, size=(number, 1))
    weights = rng.normal(size=(components, number))
    weights *= rms * np.sqrt(2) / np.linalg.norm(weights, axis=1, keepdims=True)
    phases = rng.uniform(0, 2 * np.pi, size=number)
    return Waves(*(a.astype(np.float32) for a in (2 * np.pi * directions / lengths, phases, weights)))


def ellipsoid(points: np.ndarray, centre: Triple, radii_mm: Triple) -> np.ndarray:
    """Distance to an axis-parallel ellipsoid, exact for a sphere, first order near any surface."""
    scaled = (points - column(centre, points)) / column(radii_mm, points)
    level, slope = length(scaled), length(scaled / column(radii_mm, points))
    return level * (level - 1) / np.maximum(slope, np.float32(1e-6))


def tube(points: np.ndarray, knots: tuple[tuple[float, float, float, float], ...]) -> np.ndarray:
    """Distance to a bent tube through knots (x, y, z, radius), all millimetres."""
    nearest = np.full(points.shape[1:], np.inf, np.float32)
    for (*start, first), (*end, last) in pairwise(knots):
        axis = np.subtract(end, start, dtype=np.float32)
        offset = points - column(start, points)
        along = np.clip(np.einsum("i,i...->...", axis / np.sum(axis**2), offset), 0, 1)
        gap = length(offset - column(axis, points) * along)
        np.minimum(nearest, gap - first - np.float32(last - first) * along, out=nearest)
    return nearest


def blend(first: np.ndarray, second: np.ndarray, width_mm: float) -> np.ndarray:
    """Union of two solids with the crease between them filled over `width_mm` (polynomial smooth minimum)."""
    share = np.clip(0.5 + 0.5 * (second - first) / np.float32(width_mm), 0, 1)
    return second + (first - second) * share - np.float32(width_mm) * share * (1 - share)


def length(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length of (3, ...) vectors."""
    return np.sqrt(np.einsum("i...,i...->...", vectors, vectors))


def column(values: npt.ArrayLike, points: np.ndarray) -> np.ndarray:
    """Three numbers, one per axis, shaped to be combined with points (3, ...)."""
    return np.asarray(values, np.float32).reshape(3, *[1] * (points.ndim - 1))
