"""The losses against MONAI's DiceCELoss, torch's cross-entropy and closed forms."""

import math

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.losses import cross_entropy, segmentation_loss

OPTIONS = {"include_background": False, "to_onehot_y": True, "softmax": True, "smooth_nr": 1e-5, "smooth_dr": 1e-5}


def case(classes, ignored=(0, 0), shape=(6, 5, 4)):
    """Logits (B, C, D, H, W) that want a gradient, and labels (B, D, H, W) with so many ignored voxels a scan."""
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(len(ignored), classes, *shape, generator=generator) * 2
    labels = torch.randint(classes, (len(ignored), *shape), generator=generator, dtype=torch.uint8)
    for volume, count in zip(labels, ignored, strict=True):
        volume.view(-1)[torch.randperm(volume.numel(), generator=generator)[:count]] = IGNORED
    return logits.requires_grad_(), labels


def cut_out(logits, labels):
    """The voxels of each scan that are not ignored, as double (1, C, n, 1, 1) and (1, 1, n, 1, 1)."""
    for scores, volume in zip(logits.double(), labels.long(), strict=True):
        kept = volume != IGNORED
        yield scores[:, kept][None, :, :, None, None], volume[kept][None, None, :, None, None]


def reference(logits, labels):
    scans = list(cut_out(logits, labels))
    dice = sum(DiceLoss(**OPTIONS)(*scan) for scan in scans) / len(scans)
    return dice + reference_cross_entropy(logits, labels)


def reference_cross_entropy(logits, labels):
    scans = list(cut_out(logits, labels))
    return F.cross_entropy(torch.cat([s for s, _ in scans], dim=2), torch.cat([t[:, 0] for _, t in scans], dim=1))


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_value_and_gradient_are_those_of_monais_dice_ce(classes):
    logits, labels = case(classes)
    labels[0][labels[0] == 1] = 0  # a class that one scan lacks
    ours, theirs = segmentation_loss(logits, labels), DiceCELoss(**OPTIONS)(logits.double(), labels[:, None].long())
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)), rtol=1e-4, atol=1e-8
    )


@pytest.mark.parametrize("ignored", [(0, 0), (17, 17), (5, 90), (120, 30)])
@pytest.mark.parametrize(
    ("loss", "expected"), [(segmentation_loss, reference), (cross_entropy, reference_cross_entropy)]
)
def test_ignored_voxels_are_as_if_cut_out(loss, expected, ignored):
    logits, labels = case(4, ignored)
    ours, theirs = loss(logits, labels), expected(logits, labels)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    gradient, wanted = (torch.autograd.grad(value, logits)[0] for value in (ours, theirs))
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-8)
    assert not gradient.movedim(1, -1)[labels == IGNORED].any()


def test_closed_form_of_an_undecided_network():
    labels = torch.zeros(1, 10, 10, 10, dtype=torch.uint8)
    labels[0, :3], labels[0, 3] = 1, 2  # 300 and 100 of 1000 voxels
    dice = (2 * 300 / 4 / (250 + 300) + 2 * 100 / 4 / (250 + 100) + 0) / 3
    assert segmentation_loss(torch.zeros(1, 4, 10, 10, 10), labels).item() == pytest.approx(math.log(4) + 1 - dice)
    assert cross_entropy(torch.zeros(1, 4, 10, 10, 10), labels).item() == pytest.approx(math.log(4))


def test_a_perfect_prediction_costs_nothing_even_where_classes_are_absent():
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    labels[0, 0] = 1
    logits = 100 * F.one_hot(labels.long(), 5).movedim(-1, 1).float()
    assert segmentation_loss(logits, labels).item() == pytest.approx(0, abs=1e-6)


def test_a_whole_brain_in_full_size_is_summed_without_loss():
    shape = (48, 240, 240)  # MRBrainS18's voxels, a brain of 1.1 million of them
    axes = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in shape), indexing="ij")
    brain = sum(axis**2 for axis in axes) < 0.85
    foreground = torch.where(brain, 2.0, -2.0) + 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    logits, labels = torch.stack([-foreground, foreground])[None], brain[None].to(torch.uint8)
    exact = DiceCELoss(**OPTIONS)(logits.double(), labels[:, None].long())
    assert segmentation_loss(logits, labels).item() == pytest.approx(exact.item(), rel=1e-4)


def test_logits_of_half_precision_lose_nothing_more():
    logits, labels = case(3, (5, 9))
    rounded = logits.detach().bfloat16()
    for loss in (segmentation_loss, cross_entropy):
        assert loss(rounded, labels).item() == loss(rounded.float(), labels).item()
