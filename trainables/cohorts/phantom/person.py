"""What makes one subject of the phantom cohort differ from the next: every draw of chance, frozen into a value."""

from dataclasses import dataclass

import numpy as np

from trainables.cohorts.phantom.shapes import Triple, Waves, draw_waves
from trainables.seeds import seed_for

INFARCTION, OTHER = 9, 10
FOCAL = {2: INFARCTION, 7: OTHER}
"""Position in the cohort -> label of that subject's one focal pathology, which evaluation ignores."""
PERIVENTRICULAR = ((19, 36, 14), (25, 4, 27), (27, -18, 27), (30, -60, 12), (27, 20, 34), (29, -34, 36))
"""Where white-matter lesions of small vessels are usually found, millimetres; right side."""


@dataclass(frozen=True)
class Person:
    """One subject's anatomy as numbers.

    Attributes:
        pose: (3, 4) affine from scanner to template millimetres: size, tilt and place of the head.
        warp: displacement in template millimetres, 3 components.
        folds: waves of about one length whose zero lines on the cortex are the sulci.
        sulci: 4 components, millimetres: depth of the sulci beyond the mean, and their bend sideways.
        cortex_mm: thickness of the cortical grey matter.
        sulcus_mm: half width of the sulci.
        atrophy_mm: gap between brain and skull.
        ventricle_mm: added to the radius of the lateral ventricles.
        asymmetry_mm: of that, more on the right than in the middle.
        deep_mm: added to the radii of the basal ganglia.
        cerebellum_mm: added to the radii of the cerebellum.
        lesions: (centre, radius) of each white-matter lesion.
        focal: (label, centre, radius) of an infarction or another pathology.
    """

    pose: np.ndarray
    warp: Waves
    folds: Waves
    sulci: Waves
    cortex_mm: float
    sulcus_mm: float
    atrophy_mm: float
    ventricle_mm: float
    asymmetry_mm: float
    deep_mm: float
    cerebellum_mm: float
    lesions: tuple[tuple[Triple, float], ...]
    focal: tuple[int, Triple, float] | None


def draw_person(seed: int, position: int) -> Person:
    """The subject at this position of the cohort with this seed."""
    rng = np.random.default_rng(seed_for(seed, f"phantom anatomy {position}"))
    age = rng.uniform()  # old brains have wide sulci, large ventricles and lesions together
    return Person(
        pose=_draw_pose(rng),
        warp=draw_waves(rng, 10, (90, 200), 2.6, components=3),
        folds=draw_waves(rng, 24, (21, 25), 1.0),
        sulci=draw_waves(rng, 8, (40, 80), 3.0, components=4),
        cortex_mm=rng.uniform(2.8, 3.3) - 0.4 * age,
        sulcus_mm=0.3 + 0.4 * age,
        atrophy_mm=0.6 + 1.2 * age + rng.uniform(0, 0.6),
        ventricle_mm=-0.3 + 3.5 * age + rng.normal(0, 0.6),
        asymmetry_mm=float(np.clip(rng.normal(0, 0.7), -1.5, 1.5)),
        deep_mm=rng.uniform(-0.8, 0.8),
        cerebellum_mm=rng.uniform(-1.5, 1.5),
        lesions=_draw_lesions(rng, 14 * max(0.0, age - 0.4)),
        focal=_draw_focal(rng, FOCAL[position]) if position in FOCAL else None,
    )


def _draw_pose(rng: np.random.Generator) -> np.ndarray:
    pose = np.diag(1 / rng.normal(1, 0.035, 3).clip(0.92, 1.06))
    for axis, angle in enumerate(np.deg2rad(rng.normal(0, 2.5, 3))):
        turn = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[b, a], turn[a, b] = np.sin(angle), -np.sin(angle)
        pose = pose @ turn
    return np.column_stack([pose, rng.normal(0, 2, 3)]).astype(np.float32)


def _draw_lesions(rng: np.random.Generator, expected: float) -> tuple[tuple[Triple, float], ...]:
    lesions = []
    for _ in range(rng.poisson(expected)):
        x, y, z = rng.choice(PERIVENTRICULAR) + rng.normal(0, 3, 3)
        lesions.append(((float(x * rng.choice([-1, 1])), float(y), float(z)), float(rng.uniform(3, 7))))
    return tuple(lesions)


def _draw_focal(rng: np.random.Generator, label: int) -> tuple[int, Triple, float]:
    x, y, z = rng.normal((44, -25, 25), (3, 8, 5))  # parietal, where the middle cerebral artery ends
    return label, (float(x * rng.choice([-1, 1])), float(y), float(z)), float(rng.uniform(9, 12))
