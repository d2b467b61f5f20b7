"""What a trial's epoch costs beside the same epoch in a bare PyTorch loop on the same tensors, paired in one run.

The trial is the Tune trainable in a Ray actor, its arrays in the object store, checkpoints included; the bare loop
has the same network, losses, batches and evaluation, and nothing else. The two take turns and never run at once.
"""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
import tyro
from ray import tune
from ray.tune.result import SHOULD_CHECKPOINT

from study.planning.plan import make_plan
from study.records.settings import StudySettings
from trainables.data import TrialData, scans
from trainables.device import default_device
from trainables.fitting import initial_network, weights_of
from trainables.losses import cross_entropy, segmentation_loss
from trainables.mechanics.labels import corrupt
from trainables.med3d import SegmentationNetwork, upsample
from trainables.metrics.dice import dice
from trainables.metrics.mae import mae
from trainables.recipe import Recipe
from trainables.trainable import UnlearningTrial


@dataclass
class Options:
    """Time epochs of a trial and of a bare loop in turn."""

    cohort: str = "phantom"
    """Phantom specification, e.g. phantom:48x240x240,7."""
    depth: int = 10
    """Of the network."""
    epochs: int = 10
    """Pairs of epochs that are timed, after one that is not."""


class BareLoop:
    """An epoch as one would write it by hand."""

    def __init__(self, network: SegmentationNetwork, data: TrialData):
        device = default_device()
        self.network, self.data = network.to(device), data
        self.images = torch.tensor(data.images, device=device)[:, None]
        self.labels = torch.tensor(data.labels, device=device)
        self.noisy = {scan: corrupt(self.labels[scan], data.classes, 1.0, scan) for scan in scans(data.forget)}
        self.optimizer = torch.optim.AdamW(network.parameters(), 1e-4, weight_decay=1e-2, fused=True)
        self.precision = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    def epoch(self) -> None:
        """One pass over the retain scans, then every scan evaluated."""
        retain, forget, size = scans(self.data.retain), scans(self.data.forget), self.images.shape[2:]
        self.network.train()
        for number, start in enumerate(range(0, len(retain), Recipe.retain_batch)):
            kept, gone = retain[start : start + Recipe.retain_batch], forget[number % len(forget)]
            with self.precision:
                logits = upsample(self.network(self.images[[*kept, gone]]), size)
                loss = segmentation_loss(logits[:-1], self.labels[kept])
                loss = loss + cross_entropy(logits[-1:], self.noisy[gone][None])
            loss.item()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        self.network.eval()
        everyone = [*retain, *forget, *scans(self.data.heldout)]
        with torch.no_grad():
            for start in range(0, len(everyone), 4):
                chosen = everyone[start : start + 4]
                with self.precision:
                    logits = upsample(self.network(self.images[chosen]), size)
                probabilities = logits.float().softmax(1)
                for metric in (dice, mae):
                    metric(probabilities, self.labels[chosen]).tolist()


def main(options: Options) -> None:
    """Print seconds per epoch of both and the ratio of each pair."""
    plan = make_plan(StudySettings(space="noisy_label", cohort=options.cohort, depth=options.depth))
    network = initial_network(options.depth, plan.data.classes, seed=0)
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    baseline = {
        "depth": options.depth,
        "digest": "benchmark",
        "retain_floor": 0.9,
        "metrics": {name: {"retain_dice": 1.0, "forget_dice": 1.0} for name in ("baseline", "retrained")},
    }
    shared = {"data": plan.data, "weights": weights_of(network)}
    trainable = tune.with_parameters(UnlearningTrial, **shared, baseline=baseline, threads=threads)
    config = {"strategy": "noisy_label", "knobs": {"epochs": 10**6, "lr": 1e-4}, "seed": 0}
    config |= {"checkpoint": None, "one_by_one": False}
    actor = ray.remote(trainable).options(num_cpus=threads, num_gpus=torch.cuda.device_count())
    trial = actor.remote(config)
    loop = BareLoop(network, plan.data)
    bare, tuned = [], []
    for _ in range(options.epochs + 1):
        started = time.perf_counter()
        loop.epoch()
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        result = ray.get(trial.train.remote())
        if result[SHOULD_CHECKPOINT]:
            ray.get(trial.save.remote())
        tuned.append(time.perf_counter() - started)
    ratios = [ours / theirs for ours, theirs in zip(tuned[1:], bare[1:], strict=True)]
    shape = "x".join(map(str, plan.cohort.images.shape))
    print(f"{shape} voxels, depth {options.depth}, {threads} threads, {default_device()}, torch {torch.__version__}")
    print(f"bare loop  {statistics.median(bare[1:]):7.3f} s per epoch (median of {options.epochs})")
    print(f"trial      {statistics.median(tuned[1:]):7.3f} s per epoch")
    print(f"trial / bare loop: median {statistics.median(ratios):.3f}, mean {sum(tuned[1:]) / sum(bare[1:]):.3f}")


if __name__ == "__main__":
    main(tyro.cli(Options, prog=f"python benchmarks/{Path(__file__).name}"))
