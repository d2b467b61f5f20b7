"""Dice against brute force over sets of voxels, MONAI's, and the rules for absent classes written out."""

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.metrics.dice import dice, dice_by_class

X = IGNORED


def brute_force(probabilities, labels):
    """Of one scan, with Python sets."""
    predicted = {c: set() for c in range(len(probabilities))}
    reference = {c: set() for c in range(len(probabilities))}
    for place in np.ndindex(*labels.shape):
        if labels[place] != IGNORED:
            predicted[int(np.argmax(probabilities[(slice(None), *place)]))].add(place)
            reference[int(labels[place])].add(place)
    pairs = [(predicted[c], reference[c]) for c in range(1, len(probabilities)) if predicted[c] or reference[c]]
    return np.mean([2 * len(p & r) / (len(p) + len(r)) for p, r in pairs]) if pairs else math.nan


@pytest.mark.parametrize("classes", [2, 3, 9])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_random_volumes_as_by_brute_force(classes, ignored):
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=(4, 5, 4, 3)).astype(np.uint8)
    labels[1][labels[1] == 1] = 0  # a class that the reference lacks
    labels[rng.random(labels.shape) < ignored] = IGNORED
    probabilities = rng.dirichlet(np.ones(classes), size=labels.shape)
    probabilities[0, ..., -1] = 0  # a class that the prediction lacks
    probabilities = np.moveaxis(probabilities, -1, 1)
    found = dice(torch.from_numpy(probabilities), torch.from_numpy(labels))
    expected = [brute_force(p, y) for p, y in zip(probabilities, labels, strict=True)]
    assert found.shape == (4,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_as_monai_where_every_class_is_present():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (3, 8, 8, 8), generator=generator, dtype=torch.uint8)
    probabilities = torch.randn(3, 4, 8, 8, 8, generator=generator).softmax(1)
    predicted, reference = (
        F.one_hot(classes.long(), 4).movedim(-1, 1) for classes in (probabilities.argmax(1), labels)
    )
    expected = compute_dice(predicted, reference, include_background=False).mean(1)
    torch.testing.assert_close(dice(probabilities, labels).float(), expected)


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        ([1, 1, 2, 0], [1, 1, 2, 0], 1),
        ([1, 1, 0, 0], [1, 0, 0, 0], 2 / 3),  # class 2 is in neither: left out
        ([1, 1, 0, 0], [1, 2, 0, 0], (2 / 3 + 0) / 2),  # predicted, but not in the reference: counts 0
        ([1, 2, 0, 0], [1, 0, 0, 0], (1 + 0) / 2),  # in the reference, but not predicted
        ([0, 0, 0, 0], [0, 0, 1, 0], 0),
        ([0, 0, 0, 0], [0, 0, 0, 0], math.nan),
        ([1, X, X, 0], [1, 1, 2, 0], 1),  # ignored voxels count nowhere
        ([X, X, X, X], [1, 2, 0, 1], math.nan),
        ([X, X, X, 0], [1, 2, 1, 0], math.nan),
    ],
)
def test_rules_for_absent_classes_and_ignored_voxels(reference, prediction, expected):
    labels = torch.tensor(reference, dtype=torch.uint8).view(1, 2, 2, 1)
    probabilities = F.one_hot(torch.tensor(prediction).view(1, 2, 2, 1), 3).movedim(-1, 1) * 0.5 + 0.5 / 3
    assert dice(probabilities, labels).item() == pytest.approx(expected, nan_ok=True)


def test_each_class_by_itself_as_by_counting():
    rng = np.random.default_rng(1)
    labels = rng.integers(4, size=(3, 4, 5, 6)).astype(np.uint8)
    labels[0][labels[0] == 2] = 0
    labels[rng.random(labels.shape) < 0.2] = IGNORED
    probabilities = rng.dirichlet(np.ones(4), size=labels.shape)
    probabilities[0, ..., 2] = 0  # the first scan has class 2 neither in reference nor in prediction
    found = dice_by_class(torch.from_numpy(np.moveaxis(probabilities, -1, 1)), torch.from_numpy(labels))
    expected = np.full((3, 3), math.nan)
    for scan in range(3):
        counts = labels[scan] != IGNORED
        for one in (1, 2, 3):
            p, r = probabilities[scan].argmax(-1)[counts] == one, labels[scan][counts] == one
            if p.any() or r.any():
                expected[scan, one - 1] = 2 * (p & r).sum() / (p.sum() + r.sum())
    assert np.isnan(expected).sum() == 1
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
