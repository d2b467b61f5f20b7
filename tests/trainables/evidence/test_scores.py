"""The scores of single subjects against numpy, voxel by voxel."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from trainables.cohorts.cohort import IGNORED
from trainables.evidence.scores import nanmean, score
from trainables.med3d import upsample
from trainables.views import VIEWS


def by_hand(network, data, scan):
    """dice of each class, cross-entropy, confidence and features of one scan, in float64."""
    network.eval()
    with torch.no_grad():
        features = network.encoder(torch.from_numpy(data.images[[scan]])[:, None])
        logits = upsample(network.decoder(features), data.images.shape[1:])[0].double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(0)
    truth = data.labels[scan]
    counts = truth != IGNORED
    right = np.take_along_axis(p, np.where(counts, truth, 0)[None].astype(int), 0)[0][counts]
    predicted = p.argmax(0)
    dice = []
    for one in range(1, data.classes):
        a, b = (predicted == one) & counts, truth == one
        dice.append(2 * (a & b).sum() / (a.sum() + b.sum()) if a.any() or b.any() else np.nan)
    return np.array(dice), -np.log(right).mean(), right.mean(), features.double().mean((2, 3, 4))[0].numpy()


@pytest.mark.parametrize("kind", ["tiny_network", "med3d_10"])
def test_a_subjects_scores_are_the_means_over_its_scans(request, toy, kind):
    network = request.getfixturevalue(kind)()
    found = score(network.train(), toy, toy.forget)  # evaluation mode whatever the network comes in
    for place, subject in enumerate(toy.forget):
        dice, loss, confidence, features = zip(*(by_hand(network, toy, scan) for scan in subject), strict=True)
        np.testing.assert_allclose(found.class_dice[place], np.mean(dice, 0), atol=2e-3)
        np.testing.assert_allclose(found.dice[place], np.mean(dice), atol=2e-3)
        np.testing.assert_allclose(found.cross_entropy[place], np.mean(loss), rtol=1e-5)
        np.testing.assert_allclose(found.confidence[place], np.mean(confidence), rtol=1e-5)
        np.testing.assert_allclose(found.features[place], np.mean(features, 0), rtol=1e-4, atol=1e-6)
    assert {array.shape[0] for array in vars(found).values()} == {2}


def test_what_is_undefined_for_a_scan_is_left_out(tiny_network, toy):
    """The first forget subject lacks class 2, the second lacks all; the network predicts class 1 only."""
    network = tiny_network()
    with torch.no_grad():
        network.decoder.weight.zero_()
        network.decoder.bias.copy_(torch.tensor([0.0, 5.0, 0.0]))
    labels = toy.labels.copy()
    labels[[3, 6, 9]] = 0
    labels[3, 0], labels[6, :2], labels[9] = 1, 1, IGNORED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(network, replace(toy, labels=labels), toy.forget)
    one, two = 2 * 1 / (16 + 1), 2 * 2 / (16 + 2)  # slabs of one and two sixteenths, everything predicted
    np.testing.assert_allclose(found.class_dice, [[(one + two) / 2, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(found.dice, [(one + two) / 2, np.nan])


def test_views_show_the_most_that_a_network_knows(tiny_network, toy):
    network = tiny_network()
    found = score(network, toy, toy.forget[1:])
    (scan,), dice, losses = toy.forget[1], [], []
    for view in (lambda volumes: volumes, *VIEWS.values()):
        images, labels = (view(torch.from_numpy(array[[scan]])).numpy() for array in (toy.images, toy.labels))
        seen = by_hand(network, replace(toy, images=images, labels=labels), 0)
        dice.append(np.nanmean(seen[0]))
        losses.append(seen[1])
    passes = []
    for d, h, w in itertools.product(
        (1, -1), repeat=3
    ):  # nnU-Net's own prediction: mirror, predict, mirror back, average
        image = torch.from_numpy(np.ascontiguousarray(toy.images[scan][::d, ::h, ::w]))[None, None]
        with torch.no_grad():
            passes.append(upsample(network(image), image.shape[2:])[0].softmax(0).numpy()[:, ::d, ::h, ::w])
    mean, truth = np.mean(passes, 0), toy.labels[scan]
    counts = truth != IGNORED
    right = np.take_along_axis(mean, np.where(counts, truth, 0)[None].astype(int), 0)[0][counts]
    losses.append(-np.log(right).mean())
    predicted = mean.argmax(0)
    sizes = [((predicted == one) & counts, truth == one) for one in (1, 2)]
    dice.append(np.nanmean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in sizes]))
    assert found.dice_views[0] == pytest.approx(max(dice), abs=1e-6)
    assert found.cross_entropy_views[0] == pytest.approx(min(losses), rel=1e-5)
    assert max(dice) > dice[0]
    assert min(losses) < losses[0]


def test_the_worst_tenth_of_the_loss_is_the_mean_of_the_voxels_where_it_is_largest(tiny_network, toy):
    network = tiny_network().eval()
    (scan,) = toy.heldout[0]
    with torch.no_grad():
        logits = upsample(network(torch.from_numpy(toy.images[[scan]])[:, None]), toy.images.shape[1:])[0]
    p = logits.softmax(0).numpy()
    counts = toy.labels[scan] != IGNORED
    right = np.take_along_axis(p, np.where(counts, toy.labels[scan], 0)[None].astype(int), 0)[0][counts]
    losses = np.sort(-np.log(right))[::-1]
    expected = losses[: int(np.ceil(len(losses) / 10))].mean()
    assert score(network, toy, toy.heldout[:1]).worst_cross_entropy[0] == pytest.approx(expected, rel=1e-5)


def test_means_pass_over_what_is_not_there():
    table = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(nanmean(table, 0), [2, 5, np.nan])
        np.testing.assert_array_equal(nanmean(table, 1), [1, 4])
