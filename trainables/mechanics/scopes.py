"""Which weights move: whole parts of the network, low-rank adapters, or single weights."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from trainables.med3d import SegmentationNetwork
from trainables.seeds import seed_for

ENCODER, DECODER = ("encoder",), ("decoder",)
EVERYTHING = (*ENCODER, *DECODER)
"""Paths of modules that move; the others keep parameters and BatchNorm statistics bit for bit."""

_STAGES = (DECODER, *((f"encoder.layer{number}",) for number in (4, 3, 2, 1)), ("encoder.conv1", "encoder.bn1"))


def last_stages(count: int) -> tuple[str, ...]:
    """The paths of the last stages of a Med3D network: 1 is the decoder, 2 layer4 too, ... 6 everything."""
    return tuple(path for stage in _STAGES[:count] for path in stage)


class LowRank(nn.Module):
    """A convolution's kernel plus scale * up @ down, a matrix of low rank (Hu et al., arXiv 2106.09685).

    `down` starts at random and `up` at zero, so that the network starts as it was.
    """

    def __init__(self, kernel: Tensor, rank: int, scale: float, generator: torch.Generator):
        super().__init__()
        rows, columns = len(kernel), kernel[0].numel()
        down = torch.empty(rank, columns)
        nn.init.kaiming_uniform_(down, a=5**0.5, generator=generator)
        self.down = nn.Parameter(down.to(kernel.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=kernel.device))
        self.scale = scale

    def forward(self, kernel: Tensor) -> Tensor:
        """The kernel with the adapter's matrix, rows = the kernel's first axis, added."""
        return kernel + self.scale * (self.up @ self.down).view_as(kernel)


class Masked(nn.Module):
    """Weights of which only some move: the others keep their first value whatever the optimiser does to them."""

    mask: Tensor
    first: Tensor

    def __init__(self, weights: Tensor, mask: Tensor):
        super().__init__()
        self.register_buffer("mask", mask)
        self.register_buffer("first", weights.detach().clone())

    def forward(self, weights: Tensor) -> Tensor:
        """The weights where the mask says so, their first values elsewhere."""
        return torch.where(self.mask, weights, self.first)


def open_scope(network: SegmentationNetwork, moves: Iterable[str]) -> None:
    """Let the parameters of these modules learn, and no others."""
    network.requires_grad_(False)
    for path in moves:
        network.get_submodule(path).requires_grad_(True)


def adapt(network: SegmentationNetwork, rank: int, scale: float, seed: int) -> None:
    """Give every convolution that may learn a low-rank adapter (scale: alpha / rank); only they learn then."""
    generator = torch.Generator().manual_seed(seed_for(seed, "adapters"))
    convolutions = [
        module
        for module in network.modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and module.weight.requires_grad
    ]
    network.requires_grad_(False)
    for module in convolutions:
        adapter = LowRank(module.weight, rank, scale, generator)
        parametrize.register_parametrization(module, "weight", adapter)


def mask_weights(network: SegmentationNetwork, masks: Mapping[str, Tensor]) -> None:
    """Let only the marked weights of these parameters move."""
    for name, mask in masks.items():
        path, _, parameter = name.rpartition(".")
        module = network.get_submodule(path)
        parametrize.register_parametrization(module, parameter, Masked(getattr(module, parameter), mask))


def plain_state(network: SegmentationNetwork) -> dict[str, Tensor]:
    """The state dict of the plain network that computes the same: adapters added in, masks applied."""
    state: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        path, parametrized, rest = name.partition("parametrizations.")
        if not parametrized:
            state[name] = value
        elif rest.endswith(".original"):
            parameter = rest.removesuffix(".original")
            state[path + parameter] = getattr(network.get_submodule(path.rstrip(".")), parameter).detach()
    return state


def training_mode(network: SegmentationNetwork, moves: Iterable[str], frozen_statistics: bool) -> None:
    """Training mode for the modules that move; BatchNorm may keep using its running statistics, unchanged."""
    network.eval()
    for path in moves:
        network.get_submodule(path).train()
    if frozen_statistics:
        for module in normalisations(network):
            module.eval()


def normalisations(network: nn.Module) -> Iterator[nn.Module]:
    """The network's BatchNorm layers."""
    return (module for module in network.modules() if isinstance(module, _BatchNorm))
