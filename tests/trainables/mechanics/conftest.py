"""The tiny network once more in plain torch functions and float64, to differentiate losses written by hand."""

import pytest
import torch
from torch.nn import functional as F


def plain_encoder(state, images, training):
    x = F.conv3d(images.double(), state["encoder.0.weight"], None, stride=2, padding=1)
    if training:
        mean, variance = x.mean((0, 2, 3, 4)), x.var((0, 2, 3, 4), unbiased=False)
    else:
        mean, variance = state["encoder.1.running_mean"], state["encoder.1.running_var"]
    mean, variance, weight, bias = (
        value.view(1, -1, 1, 1, 1) for value in (mean, variance, state["encoder.1.weight"], state["encoder.1.bias"])
    )
    return ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)


def plain_decoder(state, features):
    logits = F.conv3d(features, state["decoder.weight"], state["decoder.bias"])
    return F.interpolate(logits, size=(16, 16, 16), mode="trilinear", align_corners=False)


@pytest.fixture
def seasoned(tiny_network, toy):
    """A tiny network whose running statistics are not those of a new one."""

    def build(seed=5):
        network = tiny_network(seed).train()
        with torch.no_grad():
            network(torch.from_numpy(toy.images[:4, None]) * 2 + 1)
        return network

    return build


@pytest.fixture
def frozen():
    """(features, logits) of a network in evaluation mode, for (N, D, H, W) images."""

    def compute(network, images):
        state = {name: value.double() for name, value in network.state_dict().items()}
        features = plain_encoder(state, images[:, None], training=False)
        return features, plain_decoder(state, features)

    return compute


@pytest.fixture
def same_gradient():
    """Asserts that a term is a function of (features, logits) of both batches, and so is its gradient."""

    def check(term, step, by_hand):
        network = step.setting.network.train()
        state = {name: value.detach().double().requires_grad_() for name, value in network.named_parameters()}
        features = plain_encoder(state, torch.cat([step.retain.images, step.forget.images]), training=True)
        expected = by_hand(features, plain_decoder(state, features))
        loss = term(step)
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-7)
        ours = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        theirs = torch.autograd.grad(expected, list(state.values()), allow_unused=True)
        assert any(gradient is not None and gradient.abs().max() > 1e-5 for gradient in theirs)
        largest = max(gradient.abs().max().item() for gradient in theirs if gradient is not None)
        for gradient, other in zip(ours, theirs, strict=True):
            assert (gradient is None) == (other is None)
            if other is not None:
                torch.testing.assert_close(gradient.double(), other, rtol=1e-4, atol=1e-5 * largest)

    return check
