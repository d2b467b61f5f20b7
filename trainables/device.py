"""Where a process computes, how precisely, and how it sees shared arrays."""

import warnings

import numpy as np
import torch
from torch import Tensor


def default_device() -> torch.device:
    """The GPU that this process was given, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the device is a GPU, full precision on the CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def shared_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor: on the CPU the same memory, which nobody may write to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
