"""Gradient clipping and BatchNorm handling: what they do to three strategies on a real cohort.

Each setting runs from the same baseline with the recipes of `--space paper`; printed are retain and forget Dice after
some epochs, worst seed in brackets. The defaults of trainables/recipe.py come from this table.
"""

import argparse
import copy
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import ray
import torch
from rich.console import Console

from study.cluster.nodes import nodes, share
from study.networks.references import fit_digests, fit_networks, reference_fits
from study.networks.session import Session
from study.planning.plan import Plan, make_plan
from study.records.references import BASELINE
from study.records.settings import StudySettings
from study.terminal.live import StudyView
from trainables.fitting import network_of
from trainables.mechanics.strategy import build
from trainables.unlearning import Unlearning

RECIPES = {
    "noisy_label": {"lr": 1e-3, "noise_rate": 1.0, "forget_weight": 1.0},
    "max_loss": {"lr": 3e-4, "forget_weight": 0.1},
    "fix_decoder": {"lr": 3e-4, "forget_weight": 1.0},
}
CLIPS, BATCH_NORMS, SEEDS = (0.0, 1.0, 5.0), ("train", "frozen"), (0, 1)
EPOCHS = (5, 10, 20)


def course(plan: Plan, weights: dict, strategy: str, knobs: dict, seed: int) -> list[tuple[float, float]]:
    torch.set_num_threads(1)
    chosen, recipe = build(strategy, {**RECIPES[strategy], **knobs, "epochs": max(EPOCHS)})
    network = network_of(weights, plan.settings.depth, plan.data.classes)
    reports = list(Unlearning(copy.deepcopy(network), plan.data, chosen, recipe, seed))
    last = reports[-1]
    at = [reports[epoch - 1] if len(reports) >= epoch else last for epoch in EPOCHS]
    return [(report.metrics["retain_dice"], report.metrics["forget_dice"]) for report in at]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path, help="Task04_Hippocampus")
    settings = StudySettings(
        space="noisy_label",
        cohort=f"decathlon:{parser.parse_args().cohort}",
        retain_count=9,
        forget_count=3,
        heldout_count=4,
    )
    plan = make_plan(settings)
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    fits = {BASELINE: reference_fits(plan)[BASELINE]}
    session = Session(plan, share(nodes()), StudyView(Console(quiet=True)))
    found = fit_networks(session, fits, fit_digests(plan, fits))
    ray.shutdown()
    baseline = found[BASELINE]
    print(f"baseline: retain {baseline.metrics['retain_dice']:.3f}, forget {baseline.metrics['forget_dice']:.3f}")
    print(
        "| strategy | batch_norm | clip | " + " | ".join(f"retain / forget after {epoch}" for epoch in EPOCHS) + " |"
    )
    print("|---" * (3 + len(EPOCHS)) + "|", flush=True)
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = {
            (strategy, norm, clip): [
                pool.submit(course, plan, baseline.weights, strategy, {"batch_norm": norm, "clip": clip}, seed)
                for seed in SEEDS
            ]
            for strategy, norm, clip in product(RECIPES, BATCH_NORMS, CLIPS)
        }
        for (strategy, norm, clip), runs in jobs.items():
            courses = [run.result() for run in runs]
            cells = []
            for place in range(len(EPOCHS)):
                retain, forget = zip(*(one[place] for one in courses), strict=True)
                mean = f"{sum(retain) / len(retain):.3f} / {sum(forget) / len(forget):.3f}"
                cells.append(f"{mean} ({min(retain):.3f} / {max(forget):.3f})")
            print(f"| `{strategy}` | {norm} | {clip:g} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
