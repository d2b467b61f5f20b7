"""Terms on labels: what the forget batch is taught is read back from the gradient of its logits."""

import copy
import math

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from scipy.stats import norm
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.mechanics.labels import (
    ascent,
    corrupt,
    noisy_labels,
    paired,
    retain_labels,
    segment_retain,
    segmentation_ascent,
)
from trainables.strategies.noisy_label import noisy_label


def taught(term, step):
    """The labels that a cross-entropy teaches: its gradient is (softmax - one-hot) / voxels, or 0 where ignored."""
    (gradient,) = torch.autograd.grad(term(step), step.logits)
    assert not gradient[: len(step.retain.scans)].any()
    gradient, ignored = gradient[len(step.retain.scans) :], step.forget.labels == IGNORED
    labels = gradient.argmin(1)
    expected = step.forget_logits.softmax(1) - F.one_hot(labels, step.setting.classes).movedim(-1, 1)
    expected = expected / (~ignored).sum() * ~ignored[:, None]
    torch.testing.assert_close(gradient, expected.detach())
    return torch.where(ignored, IGNORED, labels)


def within(count, trials, share, deviations=5):
    return abs(count - trials * share) < deviations * (trials * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("classes", [2, 3, 9])
@pytest.mark.parametrize("noise_rate", [0.0, 0.3, 1.0])
def test_a_fraction_is_redrawn_uniformly_whatever_the_label_was(classes, noise_rate):
    labels = torch.randint(classes, (40, 50, 60), generator=torch.Generator().manual_seed(7), dtype=torch.uint8)
    noisy = corrupt(labels, classes, noise_rate, seed=1)
    assert noisy.dtype == labels.dtype
    for old in range(classes):
        after = noisy[labels == old]
        for new in range(classes):
            share = noise_rate / classes + (1 - noise_rate) * (new == old)
            assert within((after == new).sum().item(), len(after), share) or share in (0, 1)
            assert share not in (0, 1) or (after == new).float().mean() == share


def test_gaussian_noise_has_the_mean_and_spread_of_the_maps_class_numbers():
    labels = torch.zeros(40, 50, 60, dtype=torch.uint8)
    labels[:8], labels[8:10], labels[39] = 1, 3, IGNORED
    counted = labels[labels != IGNORED].double().numpy()
    noisy = corrupt(labels, 4, 1.0, seed=1, noise="gaussian")
    assert torch.equal(noisy == IGNORED, labels == IGNORED)
    ends = norm(counted.mean(), counted.std()).cdf([0.5, 1.5, 2.5])  # of what is rounded to each class
    for value, share in enumerate(np.diff([0, *ends, 1])):
        assert within((noisy == value).sum().item(), len(counted), share)
    partly = corrupt(labels, 4, 0.5, seed=1, noise="gaussian")
    assert torch.equal(partly[partly != labels], noisy[partly != labels])


def test_the_noise_has_no_pattern_in_space():
    noisy = corrupt(torch.zeros(40, 50, 60, dtype=torch.uint8), 2, 1.0, seed=2).float() - 0.5
    for axis in range(3):
        products = (noisy * noisy.roll(1, axis)).sum().item() * 4  # a sum of 120000 fair +1 and -1
        assert abs(products) < 5 * noisy.numel() ** 0.5


def test_ignored_voxels_stay_and_the_original_is_left_alone():
    labels = torch.randint(3, (20, 20, 20), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    labels[5:9] = IGNORED
    before = labels.clone()
    noisy = corrupt(labels, 3, 1.0, seed=4)
    assert torch.equal(noisy == IGNORED, labels == IGNORED)
    assert torch.equal(labels, before)


def test_the_noise_follows_its_seed_and_nothing_else():
    labels = torch.zeros(16, 16, 16, dtype=torch.uint8)
    state = torch.get_rng_state()
    first = corrupt(labels, 3, 0.5, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(corrupt(labels, 3, 0.5, seed=5), first)
    assert not torch.equal(corrupt(labels, 3, 0.5, seed=6), first)


def test_a_higher_rate_redraws_more_of_the_same_voxels():
    labels = torch.zeros(16, 16, 16, dtype=torch.uint8)
    low, high = ((corrupt(labels, 200, rate, seed=5) > 0) for rate in (0.3, 0.6))
    assert low.sum() < high.sum()
    assert not (low & ~high).any()


def test_without_noise_the_forget_batch_is_taught_its_own_labels(step):
    now = step(forget=(3, 6))
    assert torch.equal(taught(noisy_labels(0.0, "never"), now), now.forget.labels.long())


def test_noise_is_drawn_once_per_trial(step):
    term = noisy_labels(1.0, "never")
    first = taught(term, step(epoch=1, forget=(3,)))
    both = taught(term, step(epoch=2, forget=(9, 3)))
    assert torch.equal(both[1:], first)
    agreeing = (both[0] == first[0]).float().mean().item()
    assert agreeing == pytest.approx(1 / 3, abs=0.05)  # another scan has noise of its own
    assert torch.equal(taught(noisy_labels(1.0, "never"), step(epoch=9)), first)  # so a continued trial has it too
    assert not torch.equal(taught(noisy_labels(1.0, "never"), step(seed=1)), first)


def test_resampled_noise_is_drawn_anew_in_every_epoch(step):
    term = noisy_labels(1.0, "epoch")
    epochs = [taught(term, step(epoch=epoch)) for epoch in (1, 1, 2, 3)]
    assert torch.equal(epochs[0], epochs[1])
    agreeing = [(epochs[0] == other).float().mean().item() for other in epochs[2:]]
    assert agreeing == pytest.approx([1 / 3, 1 / 3], abs=0.05)
    assert torch.equal(taught(noisy_labels(1.0, "epoch"), step(epoch=3)), epochs[3])


@pytest.mark.parametrize("build", [lambda when: noisy_labels(1.0, when), retain_labels])
def test_what_is_drawn_anew_in_every_step_depends_on_epoch_and_step(step, build):
    def loss(epoch, number):
        return build("step")(step(epoch=epoch, number=number)).item()

    assert loss(2, 3) == loss(2, 3)
    assert len({loss(epoch, number) for epoch in (1, 2, 3) for number in (1, 2, 3)}) > 4
    assert len({build("epoch")(step(epoch=2, number=number)).item() for number in (1, 2, 3)}) == 1


@pytest.mark.parametrize("when", ["never", "step"])
def test_noise_moves_with_its_scan(step, when):
    def mirrored(volumes):
        return volumes.flip([-2, -1])

    seen = step(forget=(3, 6), view=mirrored)
    assert torch.equal(seen.forget.labels, mirrored(seen.setting.labels[[3, 6]]))
    moved, before = taught(noisy_labels(1.0, when), seen), taught(noisy_labels(1.0, when), step(forget=(3, 6)))
    assert torch.equal(moved, mirrored(before))
    term = noisy_labels(1.0, when)  # which keeps nothing of another view
    assert torch.equal(torch.cat([taught(term, step(view=view)) for view in (None, mirrored)])[1:], moved[:1])


def test_one_term_serves_trials_of_different_seeds(step):
    term = noisy_labels(1.0, "never")
    for seed in (0, 1):
        assert torch.equal(taught(term, step(seed=seed)), taught(noisy_labels(1.0, "never"), step(seed=seed)))


def test_a_step_runs_the_network_once(step, tiny_network):
    network = tiny_network().train()
    strategy = noisy_label()
    now = step(forget=(3, 6, 9), network=network)
    strategy.retain(now), strategy.forget(now)
    assert network.encoder[1].num_batches_tracked == 1
    assert now.retain_logits.shape == (2, 3, 16, 16, 16)
    assert now.forget_logits.shape == (3, 3, 16, 16, 16)


@pytest.mark.parametrize("noise_rate", [0.0, 0.7])
def test_noisy_label_is_monais_loss_plus_a_weighted_cross_entropy(step, tiny_network, noise_rate):
    network = tiny_network().train()
    other = copy.deepcopy(network)
    strategy = noisy_label(noise_rate=noise_rate, forget_weight=0.25)
    noisy = taught(noisy_labels(noise_rate, "never"), step(forget=(3, 6)))

    now = step(forget=(3, 6), network=network)
    now.retain.labels[now.retain.labels == IGNORED] = 0  # MONAI knows no ignored voxels
    loss = strategy.retain(now) + strategy.forget_weight * strategy.forget(now)
    loss.backward()

    images = torch.cat([now.retain.images, now.forget.images])  # BatchNorm sees the two batches as one
    logits = F.interpolate(other(images), size=(16, 16, 16), mode="trilinear", align_corners=False)
    dice_ce = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1e-5, smooth_dr=1e-5)
    p = logits[2:].softmax(1).movedim(1, -1)[noisy != IGNORED]
    expected = dice_ce(logits[:2], now.retain.labels[:, None].long())
    expected = expected - 0.25 * p[np.arange(len(p)), noisy[noisy != IGNORED]].log().mean()
    expected.backward()

    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_the_retain_term_sees_nothing_of_the_forget_labels(step):
    now = step()
    (gradient,) = torch.autograd.grad(segment_retain(now), now.logits)
    assert gradient[:2].any(1).any()
    assert not gradient[2:].any()


def test_a_preset_passes_its_knobs_on(step):
    assert noisy_label().forget_weight == 1
    assert noisy_label(forget_weight=0.3).forget_weight == 0.3
    once, anew = (
        [taught(noisy_label(resample=resample).forget, step(epoch=epoch)) for epoch in (1, 2)]
        for resample in ("never", "epoch")
    )
    assert torch.equal(*once)
    assert not torch.equal(*anew)
    assert torch.equal(taught(noisy_label(noise_rate=0.0).forget, step()), step().forget.labels.long())


def cross(logits, labels):
    """The mean over the voxels that count of log(sum_c exp z_c) - z_label."""
    counted = labels != IGNORED
    z = logits.movedim(1, -1)[counted]
    return (z.exp().sum(1).log() - z[torch.arange(len(z)), labels[counted].long()]).mean()


def segmentation(logits, labels):
    """Cross-entropy + 1 - the mean over scans and foreground classes of 2 sum p r / (sum p + sum r)."""
    ratios = []
    for z, reference in zip(logits, labels, strict=True):
        counted = reference != IGNORED
        p = z.exp() / z.exp().sum(0)
        for c in range(1, len(z)):
            predicted, r = p[c][counted], (reference[counted] == c).double()
            ratios.append(2 * (predicted * r).sum() / (predicted.sum() + r.sum()))
    return cross(logits, labels) + 1 - sum(ratios) / len(ratios)


def test_segment_retain_differentiates_to_cross_entropy_and_dice_without_ignored_voxels(step, same_gradient):
    now = step(retain=(0, 2, 7), forget=(3, 6))
    assert (now.retain.labels == IGNORED).any()
    same_gradient(segment_retain, now, lambda features, logits: segmentation(logits[:3], now.retain.labels))


def test_segmentation_ascent_is_minus_the_same_on_the_forget_batch(step, same_gradient):
    now = step(forget=(3, 6))
    same_gradient(segmentation_ascent, now, lambda features, logits: -segmentation(logits[2:], now.forget.labels))


@pytest.mark.parametrize("resample", ["never", "epoch", "step"])
def test_noisy_labels_differentiate_to_a_cross_entropy_on_the_noise(step, same_gradient, resample):
    term = noisy_labels(0.6, resample)
    noise = taught(term, step(forget=(3, 6), epoch=2))
    now = step(forget=(3, 6), epoch=2)
    same_gradient(term, now, lambda features, logits: cross(logits[2:], noise))


@pytest.mark.slow
def test_retain_labels_are_the_label_maps_of_single_retain_scans(step, same_gradient, toy):
    now = step(forget=(3, 6, 9))
    loss, retain = retain_labels("never")(now).item(), torch.from_numpy(toy.labels[[0, 1, 2, 4, 5, 7, 8]])
    fits = [  # which three label maps give this loss, of all 7 ** 3
        chosen
        for chosen in np.ndindex(7, 7, 7)
        if segmentation(now.forget_logits.detach().double(), retain[list(chosen)]).item()
        == pytest.approx(loss, rel=1e-6)
    ]
    assert len(fits) == 1
    labels = retain[list(fits[0])]
    fresh = step(forget=(3, 6, 9))
    same_gradient(retain_labels("never"), fresh, lambda features, logits: segmentation(logits[2:], labels))


def test_pairs_are_drawn_once_or_anew_and_reach_every_retain_scan(step, setting):
    def loss(resample, forget=(3,), **options):
        return retain_labels(resample)(step(forget=forget, **options)).item()

    assert loss("never") == loss("never", epoch=8)
    assert loss("epoch", epoch=3) == loss("epoch", epoch=3)
    assert len({loss("epoch", epoch=epoch) for epoch in range(1, 12)}) > 3
    assert len({loss("never", seed=seed) for seed in range(12)}) > 3
    now = setting()
    counts = np.bincount([paired(now, seed) for seed in range(700)], minlength=12)
    assert not counts[[3, 6, 9, 10, 11]].any()
    assert all(within(counts[scan], 700, 1 / 7) for scan in now.retain)


def test_ascent_is_minus_the_cross_entropy_up_to_a_ceiling(step, same_gradient):
    now = step(forget=(3, 6))

    def by_hand(features, logits):
        return -cross(logits[2:], now.forget.labels)

    same_gradient(ascent(math.inf), now, by_hand)
    reached = -ascent(math.inf)(now).item()
    same_gradient(ascent(reached * 1.01), step(forget=(3, 6)), by_hand)
    loss = ascent(reached * 0.99)(now)
    assert loss.item() == pytest.approx(-reached * 0.99)
    (gradient,) = torch.autograd.grad(loss, now.logits)
    assert not gradient.any()
