"""Views against independent implementations: SciPy's shift and affine transformation."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from trainables.views import MIRRORINGS, VIEWS, random_view, rotation, shifted, transformed

VOLUME = np.random.default_rng(0).normal(size=(1, 12, 14, 10)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, (1, 12, 14, 10)).astype(np.uint8)


def test_a_shift_moves_by_whole_voxels_and_repeats_the_border():
    moved = ndimage.shift(VOLUME[0], (2, 0, -3), order=0, mode="nearest")
    assert np.array_equal(shifted(torch.tensor(VOLUME), (2, 0, -3))[0], moved)


@pytest.mark.parametrize("matrix", [rotation(5, 0), rotation(-7, 1), rotation(5, 2), torch.eye(3) / 1.05])
def test_a_transformation_samples_images_between_voxels_and_labels_at_the_nearest(matrix):
    centre = (np.array(VOLUME.shape[1:]) - 1) / 2
    place = {"matrix": matrix.numpy(), "offset": centre - matrix.numpy() @ centre, "mode": "nearest"}
    image = transformed(torch.tensor(VOLUME), matrix)[0].numpy()
    labels = transformed(torch.tensor(LABELS), matrix)[0].numpy()
    assert np.allclose(image, ndimage.affine_transform(VOLUME[0], order=1, **place), atol=1e-4)
    assert labels.dtype == np.uint8
    assert (labels == ndimage.affine_transform(LABELS[0], order=0, **place)).mean() > 0.995  # ties may differ


def test_every_view_changes_a_scan_but_not_its_kind():
    for name, view in VIEWS.items():
        image, labels = view(torch.tensor(VOLUME)), view(torch.tensor(LABELS))
        assert image.shape == VOLUME.shape, name
        assert not np.allclose(image, VOLUME), name
        assert labels.dtype == torch.uint8, name
        assert set(labels.unique().tolist()) <= {0, 1, 2, 3}, name


@pytest.mark.parametrize("kind", ["shift", "flip", "affine"])
def test_a_random_view_is_drawn_by_its_seed_and_is_the_same_for_image_and_labels(kind):
    image, seen = torch.tensor(LABELS).float(), []
    for seed in range(8):
        view, again = random_view(kind, seed), random_view(kind, seed)
        assert torch.equal(view(image), again(image))
        seen.append(view(torch.tensor(LABELS)).numpy().tobytes())
        assert kind == "affine" or torch.equal(view(image), view(torch.tensor(LABELS)).float())
    assert len(set(seen)) > 4


def test_random_shifts_reach_three_voxels_both_ways_and_mirrorings_every_combination():
    place = torch.zeros(1, 9, 9, 9)
    place[0, 4, 4, 4] = 1
    found = [random_view("shift", seed)(place).nonzero()[0, 1:] - 4 for seed in range(60)]
    assert torch.stack(found).amin(0).tolist() == [-3, -3, -3]
    assert torch.stack(found).amax(0).tolist() == [3, 3, 3]
    assert len({random_view("flip", seed)(torch.tensor(VOLUME)).numpy().tobytes() for seed in range(60)}) == 8


def test_random_affine_views_are_small():
    """The volume of a ball keeps within 0.9 ** 3 and 1.1 ** 3, its centre within 3 voxels along each axis."""
    axis = torch.arange(41) - 20
    ball = ((axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < 10**2)[None].to(torch.uint8)
    for seed in range(20):
        view = random_view("affine", seed)(ball)
        assert 0.9**3 * 0.98 < view.sum() / ball.sum() < 1.1**3 * 1.02
        assert (view.nonzero()[:, 1:].float().mean(0) - 20).abs().max() < 3.01


def test_there_are_eight_mirrorings_and_each_undoes_itself():
    seen = {mirrored(torch.tensor(VOLUME)).numpy().tobytes() for mirrored in MIRRORINGS}
    assert len(seen) == 8
    assert all(torch.equal(mirrored(mirrored(torch.tensor(VOLUME))), torch.tensor(VOLUME)) for mirrored in MIRRORINGS)
