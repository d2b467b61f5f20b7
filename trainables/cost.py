"""What a trial costs: time and memory of a training step, tried before a study commits itself."""

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import psutil
import torch

from trainables.data import Sets, TrialData, scans
from trainables.mechanics.strategy import build
from trainables.med3d import med3d
from trainables.recipe import Recipe
from trainables.unlearning import Unlearning

CPU = "CPU"
"""The device's name where there is no GPU."""

_EVALUATED = 4
"""Scans of an evaluation's forward pass."""


class Cost(NamedTuple):
    """Of a trial, as a process of its own.

    Attributes:
        device: name of the GPU, or CPU.
        train_seconds: of training, per retain scan.
        evaluate_seconds: of evaluation, per scan.
        memory: bytes of the device's memory at the peak; on the CPU without what processes share.
        capacity: bytes that the device has.
    """

    device: str
    train_seconds: float
    evaluate_seconds: float
    memory: int
    capacity: int


def trial_cost(data: TrialData, depth: int, trials: Sequence[tuple[str, Mapping[str, Any]]], threads: int) -> Cost:
    """The mean seconds and the largest memory of a step and an evaluation of trials: strategies with their knobs."""
    torch.set_num_threads(threads)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # what the process did before is no part of the peak
    train, evaluate = [], []
    for name, knobs in trials:
        strategy, recipe = build(name, {**knobs, "epochs": 2})
        few = data.with_sets(_few(data, recipe))
        loop = Unlearning(med3d(depth, data.classes), few, strategy, recipe, seed=0)
        next(loop)  # warms up
        seconds = next(loop).seconds
        started = time.perf_counter()
        loop.evaluate()
        evaluation = time.perf_counter() - started
        train.append(max(0.0, seconds - evaluation) / len(few.retain))
        evaluate.append(evaluation / sum(map(len, few.subsets.values())))
    device = torch.cuda.get_device_name(loop.device) if loop.device.type == "cuda" else CPU
    return Cost(device, fmean(train), fmean(evaluate), *_memory(loop.device))


def _few(data: TrialData, recipe: Recipe) -> Sets:
    """Sets of single scans: one step's, and others so that an evaluation has a whole batch."""
    retain, forget = scans(data.retain)[: recipe.retain_batch], scans(data.forget)[: recipe.forget_batch]
    others = [scan for scan in range(len(data.images)) if scan not in {*retain, *forget}]
    rest = others[: max(0, _EVALUATED - len(retain) - len(forget))]
    return Sets(*(tuple((scan,) for scan in subset) for subset in (retain, forget, rest)))


def _memory(device: torch.device) -> tuple[int, int]:
    """The device's bytes taken at the peak, and all that it has; torch on a GPU gives back none that it has taken."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total - free, total
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    return peak - psutil.Process().memory_info().shared, psutil.virtual_memory().total
