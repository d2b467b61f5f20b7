"""Terms on features, values and gradients against the same loss written by hand on E0's moments."""

import math

import pytest
import torch

from trainables.mechanics.features import (
    feature_ascent,
    match_retain,
    noise_image,
    noise_image_features,
    random_features,
    retain_features,
)

RETAIN = [0, 1, 2, 4, 5, 7, 8]


@pytest.fixture
def moments(frozen, toy):
    """Mean and variance of a baseline's features over all retain scans, channels and places."""

    def compute(baseline):
        features, _ = frozen(baseline, torch.from_numpy(toy.images[RETAIN]))
        return features.mean().item(), features.var(unbiased=False).item()

    return compute


def taught(term, step):
    """The features that a mean squared error teaches, from its gradient 2 (E(x) - target) / (n variance)."""
    (gradient,) = torch.autograd.grad(term(step), step.features)
    assert not gradient[: len(step.retain.scans)].any()
    slope = gradient[len(step.retain.scans) :]
    variance = step.setting.baseline.retain_features.variance
    return (step.forget_features - slope * slope.numel() * variance / 2).detach()


def test_match_retain_is_the_squared_error_to_the_baselines_features(
    step, seasoned, frozen, moments, same_gradient, toy
):
    now = step(retain=(8, 0), forget=(3, 6), baseline=seasoned())
    target, _ = frozen(now.setting.baseline.network, torch.from_numpy(toy.images[[8, 0]]))
    _, variance = moments(now.setting.baseline.network)
    same_gradient(match_retain, now, lambda features, logits: (features[:2] - target).square().mean() / variance)


def test_random_features_have_the_moments_of_the_baselines(step, seasoned, moments):
    now = step(forget=(3, 6, 9), baseline=seasoned())
    noise = taught(random_features("never"), now).double()
    mean, variance = moments(now.setting.baseline.network)
    count = noise.numel()
    assert abs(noise.mean().item() - mean) < 5 * (variance / count) ** 0.5
    assert noise.var().item() == pytest.approx(variance, rel=5 * (2 / count) ** 0.5)
    z = (noise - mean) / variance**0.5
    assert (z**4).mean().item() == pytest.approx(3, abs=5 * (96 / count) ** 0.5)  # the normal distribution's
    assert abs((z[0] * z[1]).mean().item()) < 5 * (3 / count) ** 0.5  # every scan has noise of its own


def test_random_features_differentiate_to_a_squared_error(step, seasoned, moments, same_gradient):
    baseline = seasoned()
    now = step(forget=(3, 6), baseline=baseline)
    target = taught(random_features("never"), step(forget=(3, 6), baseline=baseline)).double()
    _, variance = moments(baseline)
    same_gradient(
        random_features("never"), now, lambda features, logits: (features[2:] - target).square().mean() / variance
    )


@pytest.mark.parametrize("kind", ["normal", "uniform", "constant"])
def test_the_target_of_a_noise_image_is_its_baseline_features(step, seasoned, frozen, moments, same_gradient, kind):
    now = step(forget=(3, 9), baseline=seasoned())
    target = taught(noise_image_features(kind, "never"), now)
    _, variance = moments(now.setting.baseline.network)
    if kind == "constant":
        images = torch.zeros(2, 16, 16, 16)
    else:  # the images that the term has encoded, seen by a hook
        images = []
        now = step(forget=(3, 9), baseline=now.setting.baseline.network)
        hook = now.setting.baseline.network.encoder.register_forward_pre_hook(
            lambda module, inputs: images.append(inputs[0][0])
        )
        noise_image_features(kind, "never")(now)
        hook.remove()
        images = torch.cat(images[:2])
        assert not any(torch.equal(images[0], other) for other in now.setting.images)
        assert (images.mean().item(), images.std().item()) == pytest.approx((0, 1), abs=0.05)
    expected, _ = frozen(now.setting.baseline.network, images)
    torch.testing.assert_close(target.double(), expected, rtol=1e-3, atol=1e-4)
    same_gradient(
        noise_image_features(kind, "never"),
        step(forget=(3, 9), baseline=now.setting.baseline.network),
        lambda features, logits: (features[2:] - expected).square().mean() / variance,
    )


def test_noise_images_have_the_moments_of_a_scan_and_their_own_shapes():
    shape = torch.Size((40, 50, 60))
    normal, uniform, constant = (noise_image(shape, kind, 3) for kind in ("normal", "uniform", "constant"))
    for image in (normal, uniform):
        assert image.shape == shape
        assert abs(image.mean().item()) < 5 * image.numel() ** -0.5
        assert image.var().item() == pytest.approx(1, abs=0.03)
    assert uniform.abs().max().item() == pytest.approx(3**0.5, abs=1e-3)
    assert normal.abs().max() > 3.5
    assert not constant.any()
    assert torch.equal(noise_image(shape, "normal", 3), normal)
    assert not torch.equal(noise_image(shape, "normal", 4), normal)


def test_retain_features_teach_the_features_of_one_retain_scan_each(step, seasoned, frozen, moments, same_gradient):
    baseline = seasoned()
    now = step(forget=(3, 6, 9), baseline=baseline)
    of_retain, _ = frozen(baseline, now.setting.images[RETAIN])
    target = taught(retain_features("never"), now).double()
    errors = (target[:, None] - of_retain[None]).abs().amax((2, 3, 4, 5))
    pairs = errors.argmin(1)
    assert errors.amin(1).max() < 1e-3 < errors.median()
    _, variance = moments(baseline)
    same_gradient(
        retain_features("never"),
        step(forget=(3, 6, 9), baseline=baseline),
        lambda features, logits: (features[2:] - of_retain[pairs]).square().mean() / variance,
    )


def test_feature_ascent_leaves_the_baselines_features_up_to_a_ceiling(step, seasoned, frozen, moments, same_gradient):
    baseline = seasoned()
    now = step(forget=(3, 6), baseline=baseline)
    own, _ = frozen(baseline, now.setting.images[[3, 6]])
    _, variance = moments(baseline)

    def by_hand(features, logits):
        return -(features[2:] - own).square().mean() / variance

    same_gradient(feature_ascent(math.inf), now, by_hand)
    error = -feature_ascent(math.inf)(now).item()
    same_gradient(feature_ascent(error * 1.01), step(forget=(3, 6), baseline=baseline), by_hand)
    reached = feature_ascent(error * 0.99)(now)
    assert reached.item() == pytest.approx(-error * 0.99)
    (gradient,) = torch.autograd.grad(reached, now.features)
    assert not gradient.any()


TERMS = {
    "random": random_features,
    "normal": lambda resample: noise_image_features("normal", resample),
    "pair": retain_features,
}


def mirrored(volumes):
    return volumes.flip([-3, -1])


def test_match_retain_of_a_moved_scan_is_taught_what_the_baseline_makes_of_it(step, seasoned, frozen):
    now = step(retain=(8, 0), baseline=seasoned(), view=mirrored)
    assert torch.equal(now.retain.images[:, 0], mirrored(now.setting.images[[8, 0]]))
    target, _ = frozen(now.setting.baseline.network, mirrored(now.setting.images[[8, 0]]))
    expected = (now.retain_features - target).square().mean() / now.setting.baseline.retain_features.variance
    assert match_retain(now).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("term", [noise_image_features("normal", "never"), feature_ascent(math.inf)])
def test_targets_made_of_an_image_are_made_of_its_view_where_the_scan_is_moved(step, seasoned, term):
    seen = []
    for view in (None, mirrored):
        now = step(forget=(3, 6), baseline=seasoned(), view=view)
        assert now.setting.baseline.retain_features.variance > 0  # computed when first asked for
        now.setting.baseline.network.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        term(now)
    assert torch.equal(torch.cat(seen[2:]), mirrored(torch.cat(seen[:2])))


def test_a_paired_retain_scan_moves_with_the_scan_that_is_taught_it(step, seasoned, frozen):
    now = step(forget=(3, 6), baseline=seasoned(), view=mirrored)
    target = taught(retain_features("never"), now).double()
    encoded, _ = frozen(now.setting.baseline.network, mirrored(now.setting.images[RETAIN]))
    assert (target[:, None] - encoded[None]).abs().amax((2, 3, 4, 5)).amin(1).max() < 1e-3


@pytest.mark.parametrize("name", TERMS)
def test_targets_depend_on_the_seed_and_the_scan_and_only_if_resampled_on_the_epoch(step, tiny_network, name):
    build = TERMS[name]

    def targets(resample="never", **options):
        return taught(build(resample), step(**options))

    first = targets(forget=(3,))
    other = tiny_network(seed=9).train()  # what the network has become plays no part, nor does the batch
    both = taught(build("never"), step(retain=(5,), forget=(9, 3), epoch=4, network=other, baseline=tiny_network()))
    torch.testing.assert_close(both[1:], first, rtol=1e-3, atol=1e-3)
    epochs = [targets("epoch", epoch=epoch) for epoch in (1, 1, 2, 3, 4)]
    torch.testing.assert_close(epochs[0], epochs[1])
    assert any((epochs[0] - later).abs().max() > 0.1 for later in epochs[2:])
    seeds = [targets(seed=seed) for seed in range(1, 5)]
    assert any((first - other).abs().max() > 0.1 for other in seeds)


def test_one_epoch_draws_every_target_once(step, seasoned):
    term = noise_image_features("normal", "epoch")
    now = step(baseline=seasoned())
    setting, encoded = now.setting, []
    setting.baseline.retain_features  # noqa: B018 - computed when first asked for
    setting.baseline.network.encoder.register_forward_hook(lambda *_: encoded.append(1))
    for epoch, count in ((1, 1), (1, 1), (2, 2)):
        term(type(now)(setting, setting.batch([0]), setting.batch([3]), epoch, 1))
        assert len(encoded) == count


def test_a_term_on_features_never_asks_for_the_decoder(step, seasoned):
    now = step(baseline=seasoned())
    now.setting.network.decoder.register_forward_hook(lambda *_: pytest.fail("the decoder was called"))
    now.setting.baseline.network.decoder.register_forward_hook(lambda *_: pytest.fail("the decoder was called"))
    for term in (match_retain, *(build("never") for build in TERMS.values())):
        term(now)
