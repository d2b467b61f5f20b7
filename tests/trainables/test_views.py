"""Views against independent implementations: SciPy's shift and affine transformation."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from trainables.views import MIRRORINGS, VIEWS, rotation, shifted, transformed

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


def test_there_are_eight_mirrorings_and_each_undoes_itself():
    seen = {mirrored(torch.tensor(VOLUME)).numpy().tobytes() for mirrored in MIRRORINGS}
    assert len(seen) == 8
    assert all(torch.equal(mirrored(mirrored(torch.tensor(VOLUME))), torch.tensor(VOLUME)) for mirrored in MIRRORINGS)
