"""Terms on features: what the encoder's output E(x) is taught, in units of the variance of E0 on the retain scans.

E0 is the baseline's frozen encoder, which sees what the network sees: where a scan is moved, so are its targets. What
is drawn is drawn once per trial or, as `resample` says, anew in every epoch or step.
Source: arXiv 2402.00351, whose `fix_decoder` is a loss on the features.
"""

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from trainables.mechanics.knobs import Resample
from trainables.mechanics.labels import paired
from trainables.mechanics.step import Draw, Setting, Step, Term, drawn_per_scan
from trainables.views import View, as_is


def match_retain(step: Step) -> Tensor:
    """Mean squared error between E(x) and E0(x) of the retain batch."""
    baseline, batch = step.setting.baseline, step.retain
    target = baseline.encode(batch.images) if batch.moved else baseline.features(batch.scans)
    return _squared_error(step, step.retain_features, target)


def random_features(resample: Resample) -> Term:
    """Mean squared error between E(x) of the forget batch and Gaussian noise with the moments of E0's features.

    The noise has no image that a view could move: it is the same for every view of a scan.
    """

    def draw(setting: Setting, scan: int, seed: int, view: View) -> Tensor:
        values, mean, variance = setting.baseline.retain_features
        noise = torch.randn(values.shape[1:], generator=torch.Generator().manual_seed(seed))
        return (mean + variance**0.5 * noise).to(setting.images.device)

    return _towards(draw, "features", resample)


def noise_image_features(kind: str, resample: Resample) -> Term:
    """Mean squared error between E(x) of the forget batch and E0(n), n an image of noise (see `noise_image`)."""

    def draw(setting: Setting, scan: int, seed: int, view: View) -> Tensor:
        image = noise_image(setting.images[scan].shape, kind, seed).to(setting.images.device)
        return _encoded(setting, image, view)

    return _towards(draw, "image", resample)


def retain_features(resample: Resample) -> Term:
    """Mean squared error between E(x) of the forget batch and E0 of the retain scans paired with its own."""

    def draw(setting: Setting, scan: int, seed: int, view: View) -> Tensor:
        pair = paired(setting, seed)
        if view is as_is:
            return setting.baseline.features([pair])[0]
        return _encoded(setting, setting.images[pair], view)

    return _towards(draw, "pair", resample)


def feature_ascent(ceiling: float) -> Term:
    """Minus the mean squared error, up to the ceiling, between E(x) and E0(x) of the forget batch."""

    def draw(setting: Setting, scan: int, seed: int, view: View) -> Tensor:
        return _encoded(setting, setting.images[scan], view)

    error = _towards(draw, "own", resample="never")
    return lambda step: -error(step).clamp(max=ceiling)


def noise_image(shape: torch.Size, kind: str, seed: int) -> Tensor:
    """A (D, H, W) image of normal or uniform noise of mean 0 and variance 1, like a z-scored scan, or constant 0."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "normal":
        return torch.randn(shape, generator=generator)
    if kind == "uniform":
        return (2 * torch.rand(shape, generator=generator) - 1) * 3**0.5
    return torch.zeros(shape)


def _encoded(setting: Setting, image: Tensor, view: View) -> Tensor:
    return setting.baseline.encode(view(image[None])[None])[0]


def _towards(draw: Draw, purpose: str, resample: Resample) -> Term:
    target = drawn_per_scan(draw, purpose, resample)
    return lambda step: _squared_error(step, step.forget_features, target(step))


def _squared_error(step: Step, features: Tensor, target: Tensor) -> Tensor:
    return mse_loss(features.float(), target) / step.setting.baseline.retain_features.variance
