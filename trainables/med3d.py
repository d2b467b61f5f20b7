"""Med3D, the study's network: MedicalNet's dilated 3D ResNet with its segmentation decoder, on MONAI's.

Source: Chen, Ma and Zheng, "Med3D: Transfer Learning for 3D Medical Image Analysis", arXiv:1904.00625.
The encoder has MedicalNet's own parameter names, so its published weights load as they are.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEPTHS = (10, 18, 34, 50)

_LEGAL = ", ".join(map(str, DEPTHS))
_STAGES = ("conv1", "bn1", "act", "maxpool", "layer1", "layer2", "layer3", "layer4")
_HEAD = "decoder.6.weight"
_LISTED = 8


class WeightsError(ValueError):
    """Weights that cannot be fetched, read, or loaded into this network."""


class SegmentationNetwork(nn.Module):
    """An encoder and a decoder, and nothing else: strategies freeze and train the two apart."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the decoder, at its own resolution (see `upsample`).

        Args:
            image: (B, 1, D, H, W).

        Returns:
            (B, C, 2 * ceil(D / 8), 2 * ceil(H / 8), 2 * ceil(W / 8)).
        """
        return self.decoder(self.encoder(image))


def med3d(depth: int = 50, classes: int = 4) -> SegmentationNetwork:
    """A Med3D network, initialised as MedicalNet's from torch's global generator.

    `.encoder` maps (B, 1, D, H, W) to (B, E, D/8, H/8, W/8), sizes rounded up, E = 512 (2048 for depth 50).

    Args:
        depth: of the ResNet, one of `DEPTHS`; 50 is the paper's.
        classes: the background included.

    Raises:
        ValueError: another depth, or fewer than two classes.
    """
    if depth not in DEPTHS:
        raise ValueError(f"depth must be one of {_LEGAL}, but got {depth=}.")
    if classes < 2:
        raise ValueError(f"classes >= 2 must hold (background and foreground), but got {classes=}.")
    return SegmentationNetwork(_encoder(depth), _decoder(2048 if depth == 50 else 512, classes))


def med3d_with(state: Mapping[str, Tensor], depth: int, classes: int) -> SegmentationNetwork:
    """A Med3D network that has these tensors, not copies of them, for parameters and buffers; nothing is drawn."""
    with torch.device("meta"):
        network = med3d(depth, classes)
    network.load_state_dict(state, assign=True)
    return network


def initialise(part: nn.Module, seed: int) -> None:
    """Draw the weights of a part of the network anew, as `med3d` does; running statistics start again too."""
    fresh = copy.deepcopy(part).cpu()  # a draw on the CPU is the same whatever the device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in fresh.modules():
            if isinstance(module, nn.Conv3d):
                _draw_kernel(module)
            elif isinstance(module, nn.ConvTranspose3d | nn.BatchNorm3d):
                module.reset_parameters()
    part.load_state_dict(fresh.state_dict())


def upsample(logits: Tensor, size: Iterable[int]) -> Tensor:
    """Logits (B, C, d, h, w) resampled trilinearly to the voxel grid `size` = (D, H, W)."""
    return F.interpolate(logits, size=tuple(size), mode="trilinear", align_corners=False)


def load_weights(network: SegmentationNetwork, path: Path | str) -> tuple[str, ...]:
    """Load a MedicalNet checkpoint, or a saved `state_dict()` of this network, from a file.

    The file is a dict with the key "state_dict" or a bare state dict; see `load_state` for what it may lack.

    Raises:
        WeightsError: not a checkpoint of plain tensors, or not one of this network.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"Weights file {path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # the unpickler raises whatever foreign bytes lead it to
        raise WeightsError(
            f"Weights file {path} is not a checkpoint of plain tensors: it is truncated, of another format, "
            "or a pickle that would have to run code, which is refused."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not (isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values())):
        keys = f" of {', '.join(map(str, content))}" if isinstance(content, dict) else ""
        raise WeightsError(f"Weights file {path} holds no state dict but a {type(content).__name__}{keys}.")
    return load_state(network, state, str(path))


def load_state(network: SegmentationNetwork, state: Mapping[str, Tensor], source: str) -> tuple[str, ...]:
    """Load a state dict with MedicalNet's key names or the network's own; `source` names it in an error.

    The whole encoder must be there. The decoder may be absent in part or whole, and so may BatchNorm's batch
    counters; a last layer of another number of classes is passed over.

    Returns:
        The network's keys that were left as they are, batch counters aside.

    Raises:
        WeightsError: an unknown key, a missing encoder key or another shape; the network is then unchanged.
    """
    own = network.state_dict()
    theirs = {_own_name(key): value for key, value in state.items()}
    head = theirs.get(_HEAD, own[_HEAD])
    if head.shape[1:] == own[_HEAD].shape[1:] and len(head) != len(own[_HEAD]):
        del theirs[_HEAD]
    absent = [key for key in own if key not in theirs and not key.endswith(".num_batches_tracked")]
    wrong = [key for key in absent if key.startswith("encoder.")]
    wrong += [key for key, value in theirs.items() if key not in own or value.shape != own[key].shape]
    if wrong:
        raise WeightsError(_mismatch(source, wrong, own, theirs))
    network.load_state_dict(theirs, strict=False)
    return tuple(absent)


def medicalnet_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of this network under MedicalNet's own names (`conv1.weight`, ..., `conv_seg.6.weight`)."""
    return {key.removeprefix("encoder.").replace("decoder.", "conv_seg.", 1): value for key, value in state.items()}


def medicalnet_state(depth: int) -> dict[str, Tensor]:
    """MedicalNet's published encoder weights of this depth (trained on 23 data sets), fetched by MONAI.

    Raises:
        WeightsError: they could not be fetched; says how to do it by hand.
    """
    from monai.networks.nets import resnet  # takes seconds, which who builds no network need not spend

    try:
        return resnet.get_pretrained_resnet_medicalnet(depth)
    except Exception as error:  # network, hub and missing-package errors have no common base class
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise WeightsError(
            f"MedicalNet's weights of depth {depth} could not be fetched ({reason}). Install "
            f"huggingface_hub, or download resnet_{depth}_23dataset.pth from the Hugging Face repository "
            f"TencentMedicalNet/MedicalNet-Resnet{depth} and pass --weights FILE."
        ) from error


class _CroppedConv3d(nn.Conv3d):
    """A dilated 3x3x3 convolution that leaves out the kernel's outer taps where they can only read padding.

    Along an axis no longer than the dilation the outer taps always fall outside; the result is the same, and
    a step on (4, 1, 24, 48, 48) takes a third less time.
    """

    def forward(self, input: Tensor) -> Tensor:
        weight, padding = self.weight, [*self.dilation]
        for axis, size in enumerate(input.shape[2:]):
            if size <= self.dilation[axis]:
                weight, padding[axis] = weight.narrow(axis + 2, 1, 1), 0
        return F.conv3d(input, weight, None, 1, padding, self.dilation)


def _encoder(depth: int) -> nn.Sequential:
    from monai.networks.nets import resnet

    _, shortcut_type = resnet.get_medicalnet_pretrained_resnet_args(depth)
    build = getattr(resnet, f"resnet{depth}")
    network = build(
        spatial_dims=3,
        n_input_channels=1,
        conv1_t_stride=2,
        feed_forward=False,
        shortcut_type=shortcut_type,
        bias_downsample=False,
    )
    _dilate(network.layer3, 2)
    _dilate(network.layer4, 4)
    return nn.Sequential(OrderedDict((stage, getattr(network, stage)) for stage in _STAGES))


def _dilate(layer: nn.Sequential, dilation: int) -> None:
    """Trade the layer's stride for dilation: the same field of view on a finer grid."""
    for module in layer.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = (1, 1, 1)
            if module.kernel_size == (3, 3, 3):
                module.dilation = module.padding = (dilation, dilation, dilation)
                module.__class__ = _CroppedConv3d
    first: Any = layer[0]
    if isinstance(first.downsample, partial):  # shortcut "A": strided copy, zero-padded channels
        first.downsample = partial(first.downsample, stride=1)


def _decoder(features: int, classes: int) -> nn.Sequential:
    decoder = nn.Sequential(
        nn.ConvTranspose3d(features, 32, kernel_size=2, stride=2),
        nn.BatchNorm3d(32),
        nn.ReLU(inplace=True),
        nn.Conv3d(32, 32, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm3d(32),
        nn.ReLU(inplace=True),
        nn.Conv3d(32, classes, kernel_size=1, bias=False),
    )
    for module in decoder:
        if isinstance(module, nn.Conv3d):
            _draw_kernel(module)
    return decoder


def _draw_kernel(convolution: nn.Conv3d) -> None:
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")


def _own_name(key: str) -> str:
    key = key.removeprefix("module.")
    if key.startswith("conv_seg."):
        return f"decoder.{key.removeprefix('conv_seg.')}"
    return key if key.startswith(("encoder.", "decoder.")) else f"encoder.{key}"


def _mismatch(source: str, wrong: list[str], own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str:
    def shape(tensors: Mapping[str, Tensor], key: str) -> str:
        return str(tuple(tensors[key].shape)) if key in tensors else "absent"

    lines = [f"{key}: network {shape(own, key)}, checkpoint {shape(theirs, key)}" for key in wrong[:_LISTED]]
    if len(wrong) > _LISTED:
        lines.append(f"and {len(wrong) - _LISTED} more")
    depth = _depth(theirs)
    hint = ""
    if depth is not None and depth != _depth(own):
        advice = f"use --depth {depth}" if depth in DEPTHS else f"legal depths: {_LEGAL}"
        hint = f": this looks like a depth-{depth} checkpoint; {advice}"
    return "\n  ".join([f"{source} does not fit the network{hint}.", *lines])


def _depth(keys: Iterable[str]) -> int | None:
    """The ResNet depth that the keys speak of: its convolutions on the longest path, and a last layer."""
    convolutions = [key for key in keys if key.startswith("encoder.layer") and ".conv" in key]
    return len(convolutions) + 2 if convolutions else None
