"""The mean absolute error against its definition, torch's L1 loss and closed forms."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.metrics.mae import mae


def case(classes, ignored=0.0):
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=(3, 5, 4, 3)).astype(np.uint8)
    probabilities = np.moveaxis(rng.dirichlet(np.ones(classes), size=labels.shape), -1, 1)
    labels[rng.random(labels.shape) < ignored] = IGNORED
    return torch.from_numpy(probabilities), torch.from_numpy(labels)


@pytest.mark.parametrize("classes", [2, 3, 9])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_half_the_summed_distance_to_the_one_hot_label(classes, ignored):
    probabilities, labels = case(classes, ignored)
    expected = []
    for p, y in zip(probabilities.numpy(), labels.numpy(), strict=True):
        kept = y != IGNORED
        expected.append(np.abs(p[:, kept] - np.eye(classes)[:, y[kept]]).sum(0).mean() / 2)
    found = mae(probabilities, labels)
    assert found.shape == (3,)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_two_classes_give_the_distance_of_the_foreground_probability():
    probabilities, labels = case(2)
    expected = F.l1_loss(probabilities[:, 1], labels.double(), reduction="none").mean((1, 2, 3))
    torch.testing.assert_close(mae(probabilities, labels), expected)


@pytest.mark.parametrize(("predicted", "expected"), [([1, 0, 0, 0], 0), ([0, 0, 1, 0], 1), ([0.25] * 4, 0.75)])
def test_right_wrong_and_undecided(predicted, expected):
    probabilities = torch.tensor(predicted).float().view(1, 4, 1, 1, 1).expand(1, 4, 2, 3, 4)
    assert mae(probabilities, torch.zeros(1, 2, 3, 4, dtype=torch.uint8)).item() == pytest.approx(expected)


def test_the_numbering_of_the_labels_plays_no_part():
    probabilities, labels = case(5)
    order = torch.tensor([3, 0, 4, 1, 2])  # class i becomes order[i]
    renamed = torch.empty_like(probabilities)
    renamed[:, order] = probabilities
    torch.testing.assert_close(mae(renamed, order[labels.long()].to(torch.uint8)), mae(probabilities, labels))


def test_undefined_without_a_voxel_that_counts():
    probabilities, labels = case(3)
    labels[1] = IGNORED
    assert mae(probabilities, labels).isnan().tolist() == [False, True, False]
