"""Terms on features: what the encoder's output E(x) is taught, in units of the variance of E0 on the retain scans.

E0 is the baseline's frozen encoder. What is drawn is drawn once per trial or, with `resample`, in every epoch anew.
Source: arXiv 2402.00351, whose `fix_decoder` is a loss on the features.
"""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from trainables.mechanics.labels import paired
from trainables.mechanics.step import Draw, Setting, Step, Term, drawn_per_scan


def match_retain(step: Step) -> Tensor:
    """Mean squared error between E(x) and E0(x) of the retain batch."""
    target = step.setting.baseline.features(step.retain.scans)
    return _squared_error(step, step.retain_features, target)


def random_features(resample: bool) -> Term:
    """Mean squared error between E(x) of the forget batch and Gaussian noise with the moments of E0's features."""

    def draw(setting: Setting, scan: int, seed: int) -> Tensor:
        values, mean, variance = setting.baseline.retain_features
        noise = torch.randn(values.shape[1:], generator=torch.Generator().manual_seed(seed))
        return (mean + variance**0.5 * noise).to(setting.images.device)

    return _towards(draw, "features", resample)


def noise_image_features(kind: str, resample: bool) -> Term:
    """Mean squared error between E(x) of the forget batch and E0(n), n an image of noise (see `noise_image`)."""

    def draw(setting: Setting, scan: int, seed: int) -> Tensor:
        image = noise_image(setting.images[scan].shape, kind, seed).to(setting.images.device)
        return setting.baseline.encode(image[None, None])[0]

    return _towards(draw, "image", resample)


def retain_features(resample: bool) -> Term:
    """Mean squared error between E(x) of the forget batch and E0 of the retain scans paired with its own."""

    def draw(setting: Setting, scan: int, seed: int) -> Tensor:
        return setting.baseline.features([paired(setting, seed)])[0]

    return _towards(draw, "pair", resample)


def feature_ascent(ceiling: float) -> Term:
    """Minus the mean squared error, up to the ceiling, between E(x) and E0(x) of the forget batch."""

    def draw(setting: Setting, scan: int, seed: int) -> Tensor:
        return setting.baseline.encode(setting.images[scan][None, None])[0]

    error = _towards(draw, "own", resample=False)
    return lambda step: -error(step).clamp(max=ceiling)


def noise_image(shape: torch.Size, kind: str, seed: int) -> Tensor:
    """A (D, H, W) image of normal or uniform noise of mean 0 and variance 1, like a z-scored scan, or constant 0."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "normal":
        return torch.randn(shape, generator=generator)
    if kind == "uniform":
        return (2 * torch.rand(shape, generator=generator) - 1) * 3**0.5
    return torch.zeros(shape)


def _towards(draw: Draw, purpose: str, resample: bool) -> Term:
    target = drawn_per_scan(draw, purpose, resample)
    return lambda step: _squared_error(step, step.forget_features, target(step))


def _squared_error(step: Step, features: Tensor, target: Tensor) -> Tensor:
    return mse_loss(features.float(), target) / step.setting.baseline.retain_features.variance
