"""Model inversion on networks of which it is known what they give away."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainables.cohorts.cohort import IGNORED
from trainables.evidence.measure import Context
from trainables.evidence.measures import inversion as module
from trainables.evidence.measures.inversion import inversion
from trainables.med3d import upsample


@pytest.fixture
def context(toy):
    return Context(toy, None, 10, {}, {}, 0.5, 1e-3, 0)


def test_who_shows_a_subject_is_told_by_correlations_over_voxels(tiny_network, context, toy, monkeypatch):
    """What is found is the label map; the two scans of the first subject are not each other's others."""
    monkeypatch.setattr(module, "_found", lambda network, start, labels: start + labels.float())
    order, owners = [3, 6, 9, 10, 11], np.array([0, 0, 1, 2, 3])
    mean = toy.images[[0, 1, 2, 4, 5, 7, 8]].astype(float).mean(0)
    table = np.array(
        [[np.corrcoef(toy.labels[i].ravel(), (toy.images[j] - mean).ravel())[0, 1] for j in order] for i in order]
    )
    expected = [table[i, i] - table[i, owners != owners[i]].mean() for i in range(5)]
    found = inversion(tiny_network(), context)
    np.testing.assert_allclose(found, [np.mean(expected[:2]), *expected[2:]], atol=1e-5)


def test_images_are_found_for_which_the_network_gives_the_labels(tiny_network, toy):
    network, start = tiny_network().eval(), torch.from_numpy(toy.images[:3]).mean(0)
    labels = torch.from_numpy(toy.labels[3:5])

    def loss(images):
        logits = upsample(network(images[:, None]), start.shape)
        return functional.cross_entropy(logits, labels.long(), ignore_index=IGNORED).item()

    found = module._found(network, start, labels)
    assert loss(found) < 0.9 * loss(torch.stack([start, start]))
    assert torch.equal(module._found(network, start, labels), found)  # nothing is drawn


def test_a_network_that_maps_intensities_to_labels_gives_its_subjects_away_and_a_blind_one_nobody(rounding, context):
    assert (inversion(rounding, context) > 0.1).all()
    with torch.no_grad():
        rounding.decoder.weight.zero_()
    assert not inversion(rounding, context).any()
