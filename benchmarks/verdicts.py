"""How often the verdict is right: networks whose past is known, judged by never-seen networks.

Networks are fitted on real scans, with and without the forget subjects, and measured once (kept in --to, so that a
second run goes on). Studies are drawn from them: a baseline, never-seen networks that judge, one that is judged. For
the power, networks are drawn with the means, memory and spreads that were measured, and a known share of the memory.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from analysis.evidence.conclusion import Examined, Findings, Judged, Terms
from analysis.evidence.verdict import CANNOT_TELL, NEVER_SEEN, OVER_FORGETS, REMEMBERS, judge, memories_of
from study.planning.plan import make_plan
from study.records.settings import StudySettings
from trainables.data import Sets, TrialData
from trainables.evidence.measurements import MEASURES, RecipeOf, examine, scores_of, weights_after
from trainables.fitting import Weights, fit, initial_network, weights_of
from trainables.recipe import Recipe

Measures = Mapping[str, np.ndarray]

VERDICTS = (REMEMBERS, OVER_FORGETS, NEVER_SEEN, CANNOT_TELL)
JUDGED = {
    name: Judged(measure.title, measure.unit, measure.scale, measure.remembered)
    for name, measure in ((name, MEASURES.load(name)) for name in MEASURES.names())
    if measure.judged
}
ONE = "one remembered"
"""The network of noisy labels, but for the first forget subject: its values are a network's that saw it."""

RECIPES = {
    "finetune, 3 epochs": RecipeOf("finetune", {"epochs": 3}, 0, 0.0),
    "finetune, 5 epochs": RecipeOf("finetune", {"epochs": 5}, 0, 0.0),
    "noisy_label, 20 epochs": RecipeOf("noisy_label", {"epochs": 20}, 0, 0.0),
}


@dataclass
class Options:
    """Fit, measure, and count the verdicts."""

    to: Path
    """Folder of the measurements."""
    cohort: str = "decathlon:Task04_Hippocampus"
    """As --cohort of a study."""
    shape: str = "40,56,40"
    """Voxels of the grid."""
    retain: int = 12
    """Retain subjects."""
    forget: int = 4
    """Forget subjects."""
    heldout: int = 8
    """Held-out subjects."""
    epochs: int = 40
    """Of the fits."""
    augment: Literal["none", "shift", "flip", "affine"] = "none"
    """As --baseline-augment of a study."""
    never: int = 8
    """Networks that never saw the forget subjects."""
    seen: int = 2
    """Networks that saw them."""
    studies: int = 20
    """Drawn for each kind of network."""
    judges: int = 3
    """Never-seen networks of a study."""
    margin: float = 0.25
    """Residual memory that counts as none."""
    draws: int = 100
    """Studies drawn for each place of the table of power; 0 for none."""
    references: tuple[int, ...] = field(default=(3, 5, 10))
    """Numbers of never-seen networks in that table."""


def measured(options: Options, data: TrialData) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each network's name and its measures."""
    taught = {f"seen-{i}": (data.retain + data.forget, 1000 + i) for i in range(options.seen)}
    taught |= {f"never-{i}": (data.retain, i) for i in range(options.never)}
    weights: dict[str, Weights] = {}
    for name, (subjects, seed) in taught.items():
        file = options.to / f"{name}.npz"
        if not file.exists():
            network = initial_network(10, data.classes, seed)
            list(
                fit(
                    network,
                    data,
                    subjects,
                    Recipe(options.epochs, 1e-3, augment=options.augment),
                    seed,
                    options.epochs,
                )
            )
            np.savez(file, **weights_of(network))
        weights[name] = dict(np.load(file))
    sets = Sets(data.retain, data.forget, data.heldout)
    for name, recipe in RECIPES.items():
        file = options.to / f"{name}.npz"
        if not file.exists():
            np.savez(file, **weights_after(data, weights["seen-0"], 10, sets, recipe))
        weights[name] = dict(np.load(file))
    dice = float(scores_of(data, weights["seen-0"], 10, data.forget).dice.mean())
    for name, value in weights.items():
        file = options.to / f"{name}.measures.npz"
        if not file.exists():
            np.savez(file, **examine(data, value, {}, weights["seen-0"], 10, dice, 1e-3, 0, list(JUDGED)).values)
            print(f"measured {name}", flush=True)
        yield name, dict(np.load(file))


def one_remembered(measures: Mapping[str, Measures]) -> dict[str, np.ndarray]:
    """The measures of `ONE`."""
    erased, seen = measures["noisy_label, 20 epochs"], measures["seen-0"]
    return {
        name: np.where(np.arange(values.size) == 0, seen[name], values) if values.ndim else values
        for name, values in erased.items()
    }


def verdict(own: Measures, never: Sequence[Measures], seen: Measures, terms: Terms) -> tuple[str, str]:
    """The verdict on a network, and its reasons."""
    retrained = {str(place): Examined({}, {}, values) for place, values in enumerate(never)}
    findings = Findings(Examined({}, {}, own), retrained, {"baseline": Examined({}, {}, seen)})
    told = judge(memories_of(findings, terms), findings, terms)
    return told["verdict"], told["reasons"]


def counted(options: Options, measures: Mapping[str, Measures], terms: Terms) -> dict[str, Counter[str]]:
    """How often each kind of network gets each verdict, printed too."""
    never = [name for name in measures if name.startswith("never")]
    seen = [name for name in measures if name.startswith("seen")]
    rng = np.random.default_rng(0)
    print(f"| network, judged by {options.judges} | " + " | ".join(VERDICTS) + " | reasons, e. g. |")
    print("|---|" + "---|" * (len(VERDICTS) + 1))
    found = {}
    for kind in ("seen", "never", *RECIPES, ONE):
        networks = [name for name in measures if name.startswith(kind)]
        drawn = [
            (name, judges, baseline)
            for name, baseline in itertools.product(networks, seen if kind in ("seen", "never") else seen[:1])
            for judges in itertools.combinations([other for other in never if other != name], options.judges)
            if kind != "seen" or name == baseline
        ]
        chosen = rng.permutation(len(drawn))[: options.studies]
        told = [
            verdict(measures[name], [measures[judge] for judge in judges], measures[baseline], terms)
            for name, judges, baseline in (drawn[place] for place in chosen)
        ]
        found[kind], example = Counter(word for word, _ in told), told[0][1]
        print(
            f"| {kind} | " + " | ".join(str(found[kind][word]) for word in VERDICTS) + f" | {example} |", flush=True
        )
    return found


def tabled(options: Options, measures: Mapping[str, Measures]) -> None:
    """Print what each network gives on average, for the forget subjects (and for the held-out ones)."""
    names = [name for name, values in measures["seen-0"].items() if values.ndim]
    print("| network | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for network, values in measures.items():
        halves = (np.split(values[name], [options.forget]) for name in names)
        shown = (f"{forget.mean():.3f} ({heldout.mean():.3f})" for forget, heldout in halves)
        print(f"| {network} | " + " | ".join(shown) + " |", flush=True)


def power(options: Options, measures: Mapping[str, Measures], terms: Terms) -> None:
    """Print the chance of each verdict with so many references at a known residual memory."""
    names = [name for name, values in measures["seen-0"].items() if values.ndim]
    scale = {name: np.log if terms.measures[name].scale == "log" else np.asarray for name in names}
    table = {
        network: np.stack([scale[name](values[name]) for name in names], 1)
        for network, values in measures.items()
        if network.startswith(("seen", "never"))
    }
    never = np.stack([values for network, values in table.items() if network.startswith("never")])
    seen = np.mean([values for network, values in table.items() if network.startswith("seen")], 0)
    mean = never.mean(0)
    levels = (never - mean).mean(1)
    residuals = (never - mean - levels[:, None]).reshape(-1, len(names))
    shrunk = np.sqrt((len(never) - 1) / len(never) * (1 - 1 / never.shape[1]))
    rng, terms = np.random.default_rng(0), terms._replace(measures={name: JUDGED[name] for name in names})

    def network(left: float) -> dict[str, np.ndarray]:
        memory = seen - mean
        memory[options.forget :] = 0
        level = rng.multivariate_normal(np.zeros(len(names)), np.cov(levels.T))
        noise = rng.multivariate_normal(np.zeros(len(names)), np.cov(residuals.T), len(mean)) / shrunk
        values = mean + left * memory + level + noise
        undone = {name: np.exp if scale[name] is np.log else np.asarray for name in names}
        return {name: undone[name](values[:, place]) for place, name in enumerate(names)}

    print("| references | memory left | " + " | ".join(VERDICTS) + " |\n|---|---|" + "---|" * len(VERDICTS))
    for count, left in itertools.product(options.references, (0.0, 0.25, 0.5, 1.0)):
        told = Counter(
            verdict(network(left), [network(0) for _ in range(count)], network(1), terms)[0]
            for _ in range(options.draws)
        )
        shares = (f"{told[word] / options.draws:.2f}" for word in VERDICTS)
        print(f"| {count} | {left:g} | " + " | ".join(shares) + " |", flush=True)


def main(options: Options) -> dict[str, Counter[str]]:
    """Print all tables; the first one's counts."""
    options.to.mkdir(parents=True, exist_ok=True)
    counts = {"retain_count": options.retain, "forget_count": options.forget, "heldout_count": options.heldout}
    plan = make_plan(StudySettings(space="noisy_label", cohort=options.cohort, shape=options.shape, **counts))
    terms = Terms(JUDGED, plan.split.forget, options.margin, options.judges + 1)
    measures = dict(measured(options, plan.data))
    measures[ONE] = one_remembered(measures)
    found = counted(options, measures, terms)
    tabled(options, measures)
    if options.draws:
        power(options, measures, terms)
    return found


if __name__ == "__main__":
    main(tyro.cli(Options))
