"""Means over scans and then subjects, and the gaps, against numbers worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.special import softmax
from torch import nn

from trainables import metrics
from trainables.cohorts.cohort import IGNORED
from trainables.evaluation import evaluate, means, nanmean, probabilities
from trainables.med3d import SegmentationNetwork
from trainables.scan_metric import scan_metrics
from trainables.views import QUICK


def scan(foreground, found=0, wrong=0):
    """Image and labels of 1000 voxels: class 1 has `foreground`, of which `found` are predicted, and `wrong` more."""
    labels, image = np.zeros(1000, dtype=np.uint8), np.zeros(1000, dtype=np.float32)
    labels[:foreground] = 1
    image[:found] = 1
    image[1000 - wrong :] = 1
    return image.reshape(10, 10, 10), labels.reshape(10, 10, 10)


# Dice 1, 2 * 50 / (100 + 50), 0, undefined, 2 * 200 / (400 + 300); MAE 0, .05, .01, 0, .3
SCANS = [scan(100, 100), scan(100, 50), scan(10), scan(0), scan(400, 200, 100)]


def tensors():
    images, labels = (torch.from_numpy(np.stack(volumes)) for volumes in zip(*SCANS, strict=True))
    return images, labels


@pytest.mark.parametrize(
    ("subset", "dice", "mae"),
    [
        (((0,),), 1, 0),
        (((0, 1, 2),), (1 + 2 / 3 + 0) / 3, 0.06 / 3),
        (((0, 1, 2), (4,)), ((1 + 2 / 3 + 0) / 3 + 4 / 7) / 2, (0.02 + 0.3) / 2),  # scans first, then subjects
        (((0, 1), (2,), (4,)), (5 / 6 + 0 + 4 / 7) / 3, (0.025 + 0.01 + 0.3) / 3),
        (((1, 3),), 2 / 3, 0.025),  # a scan without a Dice has an error all the same
        (((1,), (3,)), 2 / 3, 0.025),
        (((3,),), math.nan, 0),
        ((), math.nan, math.nan),
    ],
)
def test_a_set_is_the_mean_of_subjects_that_are_means_of_scans(rounding, subset, dice, mae):
    found = means(evaluate(rounding, *tensors(), {"retain": subset}))
    assert found == pytest.approx({"retain_dice": dice, "retain_mae": mae}, nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 5, 9])
def test_several_sets_and_any_batch_size(rounding, batch):
    found = evaluate(rounding, *tensors(), {"retain": ((4,), (0,)), "heldout": ((2, 1),)}, batch)
    expected = {"retain_dice": [4 / 7, 1], "retain_mae": [0.3, 0], "heldout_dice": [1 / 3], "heldout_mae": [0.03]}
    assert found.keys() == expected.keys()
    assert all(found[name] == pytest.approx(expected[name], abs=1e-6) for name in expected)  # in the set's order


def test_a_subject_without_a_value_keeps_its_place(rounding):
    found = evaluate(rounding, *tensors(), {"forget": ((3,), (1, 3), (2,))})
    assert found["forget_dice"] == pytest.approx([math.nan, 2 / 3, 0], nan_ok=True)
    assert found["forget_mae"] == pytest.approx([0, 0.025, 0.01], abs=1e-6)
    averaged = means(found)
    assert (averaged["forget_dice"], averaged["forget_mae"]) == pytest.approx((1 / 3, 0.035 / 3), abs=1e-6)


def test_a_scan_that_counts_nowhere_is_left_out(rounding):
    images, labels = tensors()
    labels[2] = IGNORED
    found = means(evaluate(rounding, images, labels, {"retain": ((0, 1, 2),), "forget": ((2,),)}))
    assert [found["retain_dice"], found["retain_mae"]] == pytest.approx([5 / 6, 0.025], abs=1e-6)
    assert math.isnan(found["forget_dice"])
    assert math.isnan(found["forget_mae"])


def test_a_coarse_network_is_judged_at_full_resolution(rounding):
    halving = SegmentationNetwork(nn.AvgPool3d(2), rounding.decoder)
    labels = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    labels[:, :3] = 1  # coarse slices 1, 1/2, 0, 0: half a voxel from the tie, the linear logits change sign at 3
    found = evaluate(halving, labels.float(), labels, {"retain": ((0,),)})
    assert found["retain_dice"] == [1]


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_logits_interpolated_to_the_images_resolution(tiny_network, toy, classes):
    network, images = tiny_network(classes=classes).eval(), torch.from_numpy(toy.images[:2])
    found = probabilities(network, images)
    assert (found.shape, found.dtype, found.requires_grad) == ((2, classes, 16, 16, 16), torch.float32, False)
    logits = network(images[:, None]).detach().numpy()  # 8 x 8 x 8
    full = ndimage.zoom(logits, (1, 1, 2, 2, 2), order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(found, softmax(full, axis=1), atol=1e-5)
    assert np.ptp(found.numpy()) > 0.1


def test_running_statistics_are_used_and_neither_moved_nor_differentiated(tiny_network, toy):
    network = tiny_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images, labels = torch.from_numpy(toy.images), torch.from_numpy(toy.labels)
    differentiable = []
    network.register_forward_hook(lambda module, inputs, logits: differentiable.append(logits.requires_grad))
    alone = [evaluate(network, images, labels, {"retain": ((scan,),)})["retain_mae"][0] for scan in (2, 4)]
    assert not network.training
    assert evaluate(network, images, labels, {"retain": ((2,), (4,))}, batch=2)["retain_mae"] == pytest.approx(alone)
    together = evaluate(network, images, labels, toy.subsets)
    assert {name: len(values) for name, values in together.items()} == {
        f"{subset}_{metric}": count
        for subset, count in (("retain", 5), ("forget", 2), ("heldout", 2))
        for metric in ("dice", "mae")
    } | {"forget_dice_views": 2}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert differentiable
    assert not any(differentiable)


def test_every_file_of_metrics_is_a_metric_and_so_is_a_new_one(rounding, tmp_path, monkeypatch):
    (folder,) = metrics.__path__
    files = {file.stem for file in Path(folder).glob("[!_]*.py")}
    assert {name: metric.function.__name__ for name, metric in scan_metrics().items()} == {
        name: name for name in files
    }
    (tmp_path / "volume.py").write_text(
        "from trainables.scan_metric import ScanMetric\n"
        "METRIC = ScanMetric(lambda p, labels: (labels > 0).sum((1, 2, 3)), 'volume', better=0, unit='voxels')\n"
    )
    monkeypatch.setattr(metrics, "__path__", [folder, str(tmp_path)])
    scan_metrics.cache_clear()
    try:
        assert evaluate(rounding, *tensors(), {"heldout": ((1,), (4, 2))})["heldout_volume"] == [100, 205]
    finally:
        scan_metrics.cache_clear()


@pytest.mark.parametrize(
    ("values", "mean"), [([1, math.nan, 2], 1.5), ([math.nan], math.nan), ([], math.nan), ([3], 3)]
)
def test_nan_is_left_out_of_a_mean(values, mean):
    assert nanmean(values) == pytest.approx(mean, nan_ok=True)


def test_forget_subjects_are_seen_under_views_too():
    """A network that knows a scan one diagonal step aside: as it is it predicts nothing of it."""
    image, labels = (torch.zeros(1, 12, 12, 12) for _ in range(2))
    image[0, 4:8, 4:8, 4:8], labels = 1, labels.to(torch.uint8)
    labels[0, 4:8, 4:8, 4:8] = 1
    moved = QUICK["shift +2"](image)

    class Knows(nn.Module):
        def forward(self, images):
            known = [torch.equal(one[0], moved[0]) for one in images]
            found = images[:, 0] * torch.tensor(known)[:, None, None, None]
            return torch.stack([0.5 - found, found - 0.5], 1)

    network = SegmentationNetwork(nn.Identity(), Knows())
    values = evaluate(network, image, labels, {"forget": ((0,),), "heldout": ((0,),)})
    assert (values["forget_dice"], values["forget_dice_views"]) == ([0.0], [1.0])
    assert "heldout_dice_views" not in values
