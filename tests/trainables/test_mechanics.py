"""Noise and loss terms: what the forget batch is taught is read back from the gradient of its logits."""

import copy

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from trainables.cohorts.cohort import IGNORED
from trainables.mechanics import Batch, Step, corrupt, noisy_labels, segment_retain
from trainables.strategies.noisy_label import noisy_label


@pytest.fixture
def step(tiny_network, toy):
    """Builds a step on the toy cohort."""

    def build(retain=(0, 2), forget=(3,), seed=0, epoch=1, network=None):
        def batch(scans):
            chosen = list(scans)
            return Batch(chosen, torch.from_numpy(toy.images[chosen])[:, None], torch.from_numpy(toy.labels[chosen]))

        return Step(network or tiny_network(), batch(retain), batch(forget), toy.classes, seed, epoch)

    return build


def taught(term, step):
    """The labels that a cross-entropy teaches: its gradient is (softmax - one-hot) / voxels, or 0 where ignored."""
    (gradient,) = torch.autograd.grad(term(step), step.logits)
    assert not gradient[: len(step.retain.scans)].any()
    gradient, ignored = gradient[len(step.retain.scans) :], step.forget.labels == IGNORED
    labels = gradient.argmin(1)
    expected = step.forget_logits.softmax(1) - F.one_hot(labels, step.classes).movedim(-1, 1)
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
    assert torch.equal(taught(noisy_labels(0.0, False), now), now.forget.labels.long())


def test_noise_is_drawn_once_per_trial(step):
    term = noisy_labels(1.0, False)
    first = taught(term, step(epoch=1, forget=(3,)))
    both = taught(term, step(epoch=2, forget=(9, 3)))
    assert torch.equal(both[1:], first)
    agreeing = (both[0] == first[0]).float().mean().item()
    assert agreeing == pytest.approx(1 / 3, abs=0.05)  # another scan has noise of its own
    assert torch.equal(taught(noisy_labels(1.0, False), step(epoch=9)), first)  # so a continued trial has it too
    assert not torch.equal(taught(noisy_labels(1.0, False), step(seed=1)), first)


def test_resampled_noise_is_drawn_anew_in_every_epoch(step):
    term = noisy_labels(1.0, True)
    epochs = [taught(term, step(epoch=epoch)) for epoch in (1, 1, 2, 3)]
    assert torch.equal(epochs[0], epochs[1])
    agreeing = [(epochs[0] == other).float().mean().item() for other in epochs[2:]]
    assert agreeing == pytest.approx([1 / 3, 1 / 3], abs=0.05)
    assert torch.equal(taught(noisy_labels(1.0, True), step(epoch=3)), epochs[3])


def test_one_term_serves_trials_of_different_seeds(step):
    term = noisy_labels(1.0, False)
    for seed in (0, 1):
        assert torch.equal(taught(term, step(seed=seed)), taught(noisy_labels(1.0, False), step(seed=seed)))


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
    noisy = taught(noisy_labels(noise_rate, False), step(forget=(3, 6)))

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
        for resample in (False, True)
    )
    assert torch.equal(*once)
    assert not torch.equal(*anew)
    assert torch.equal(taught(noisy_label(noise_rate=0.0).forget, step()), step().forget.labels.long())
