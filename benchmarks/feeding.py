"""What feeding a training step costs: Lethe's arrays beside MedicalNet's way, which reads NIfTI files in every step.

MedicalNet's data set (arXiv 1904.00625, its public code) reads and decompresses image and label, crops both at
random around the labelled region, zooms them with scipy, normalises the image and fills its background with noise,
for every subject of every step. Both ways feed the same scans; the training step that follows is timed apart.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import torch
import tyro
from scipy import ndimage

from study.planning.plan import make_plan
from study.records.settings import StudySettings
from trainables.cohorts.cache import cache_dir
from trainables.cohorts.readers.phantom import parse_spec, phantom_folder
from trainables.device import default_device, shared_tensor
from trainables.fitting import initial_network
from trainables.losses import segmentation_loss
from trainables.med3d import upsample


@dataclass
class Options:
    """Time the two ways of feeding and the step, in turn."""

    cohort: str = "phantom:48x240x240,7"
    """Phantom specification."""
    depths: tuple[int, ...] = (10, 50)
    """Networks whose step is timed."""
    repeats: int = 5
    """Of each measurement."""


def medicalnet_way(folder: Path, size: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Image and label of one subject as MedicalNet feeds them."""
    image = np.asarray(nibabel.load(folder / "pre" / "reg_T1.nii.gz").get_fdata())
    label = np.asarray(nibabel.load(folder / "segm.nii.gz").get_fdata())
    inside = np.nonzero(image != image[0, 0, 0])
    image, label = (volume[tuple(slice(i.min(), i.max() + 1) for i in inside)] for volume in (image, label))
    target = np.nonzero(label > 0)
    window = []
    for indices, length in zip(target, label.shape, strict=True):
        margin = (indices.max() - indices.min()) / 2
        start = max(0, int((indices.min() - margin) * rng.random()))
        stop = min(length, int(length - (length - indices.max() - margin) * rng.random()))
        window.append(slice(start, stop))
    image, label = image[tuple(window)], label[tuple(window)]
    zoom = np.divide(size, image.shape)
    image, label = (ndimage.zoom(volume, zoom, order=0) for volume in (image, label))
    brain = image[image > 0]
    normal = (image - brain.mean()) / brain.std()
    normal[image == 0] = rng.normal(size=image.shape)[image == 0]
    return normal, label


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main(options: Options) -> None:
    """Print the seconds of both data parts, of the compute part, and their ratios."""
    kind, _, spec = options.cohort.partition(":")
    data = make_plan(StudySettings(space="noisy_label", cohort=options.cohort)).data
    folders = sorted(phantom_folder(parse_spec(spec), cache_dir()).glob("[!.]*"))
    size = data.images.shape[:0:-1]
    device, rng = default_device(), np.random.default_rng(0)
    images, labels = shared_tensor(data.images, device), shared_tensor(data.labels, device)
    torch.set_num_threads(os.cpu_count() or 1)
    print(
        f"{kind} {'x'.join(map(str, data.images.shape[1:]))}, batch of 1, {device}, {torch.get_num_threads()} threads"
    )
    for depth in options.depths:
        network = initial_network(depth, data.classes, seed=0).to(device).train()
        optimizer = torch.optim.AdamW(network.parameters(), fused=True)
        ours, theirs, steps = [], [], []
        batch: list[torch.Tensor] = []

        def feed(scan: int) -> None:
            batch[:] = images[[scan]].unsqueeze(1), labels[[scan]]  # noqa: B023

        def step() -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = segmentation_loss(upsample(network(batch[0]), data.images.shape[1:]), batch[1])  # noqa: B023
            optimizer.zero_grad(set_to_none=True)  # noqa: B023
            loss.backward()
            optimizer.step()  # noqa: B023

        for repeat in range(options.repeats + 1):
            scan = repeat % len(folders)
            ours.append(seconds(lambda: feed(scan)))  # noqa: B023
            theirs.append(seconds(lambda: medicalnet_way(folders[scan], size, rng)))  # noqa: B023
            steps.append(seconds(step))
        fed, read, computed = (statistics.median(times[1:]) for times in (ours, theirs, steps))
        print(f"depth {depth}: step {computed:.3f} s; feeding {fed * 1e3:.2f} ms = {fed / computed:.2%} of a step")
        print(f"  MedicalNet's way {read:.3f} s = {read / computed:.0%} of a step, {read / fed:.0f} times ours")


if __name__ == "__main__":
    main(tyro.cli(Options, prog=f"python benchmarks/{Path(__file__).name}"))
