"""How fast a search finds the best feasible recipe: constrained TPE beside random search, TPE without constraints and
Optuna alone, on replayed trials (replay.py), four at a time in virtual time.

`python benchmarks/search.py [--seeds 20]` writes search.md and search.svg beside this file.
"""

import argparse
import heapq
from collections.abc import Callable
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import optuna
from replay import SPACE, Replay, row_of
from scipy.stats import bootstrap

from analysis.statistics.plane import hypervolume
from study.records.constraints import Constraint, violations
from study.records.objectives import OBJECTIVES
from study.records.rows import TrialRow
from study.search.searcher import Problem, Start, StudySearch, choose

FLOORS = (0.9, 0.99, 1.0)
TRIALS, AT_ONCE, SHOWN = 100, 4, (25, 50, 100)
REPLAY = Replay()
Rows = list[TrialRow]


def ours(floor: float, seed: int, sampler: str, steered: bool = True, published: bool = False) -> Rows:
    """A search of the study engine's."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    first = SPACE.starts if published else ()
    steering = [Constraint("retention", ">=", floor)] if steered else []
    problem = Problem(SPACE, OBJECTIVES["gap"], steering, "replay", seed, sampler)
    search = StudySearch(problem, Start(first=first))
    ended: Rows = []
    running: list[tuple[float, int, TrialRow]] = []
    for number in range(TRIALS + AT_ONCE):
        if number >= AT_ONCE:
            now, _, row = heapq.heappop(running)
            search.ended(row)
            ended.append(row)
        else:
            now = 0.0
        if number < TRIALS:
            config = search.suggest(str(number))
            assert isinstance(config, dict)
            row = row_of(config["id"], config["knobs"], REPLAY.epochs(config["knobs"]))
            heapq.heappush(running, (now + row.seconds, number, row))
    return ended


def optuna_alone(floor: float, seed: int) -> Rows:
    """Optuna's own loop in joblib's threads, with its constraints."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    constraint = Constraint("retention", ">=", floor)
    ended: Rows = []

    def objective(trial: optuna.Trial) -> float:
        knobs = choose(SPACE, trial)
        row = row_of(str(trial.number), knobs, REPLAY.epochs(knobs))
        trial.set_constraint(str(constraint), constraint.violation(row.results))
        ended.append(row)
        return row.metric("dice_gap")

    run = joblib.delayed(study.optimize)
    joblib.Parallel(AT_ONCE, backend="threading")(run(objective, TRIALS // AT_ONCE) for _ in range(AT_ONCE))
    return ended


ARMS: dict[str, Callable[[float, int], Rows]] = {
    "constrained TPE": lambda floor, seed: ours(floor, seed, "tpe"),
    "constrained TPE, published first": lambda floor, seed: ours(floor, seed, "tpe", published=True),
    "unconstrained TPE": lambda floor, seed: ours(floor, seed, "tpe", steered=False),
    "random": lambda floor, seed: ours(floor, seed, "random"),
    "Optuna alone, joblib": optuna_alone,
}


def curves(rows: Rows, floor: float) -> tuple[np.ndarray, np.ndarray]:
    """Best feasible gap and hypervolume of the feasible trials, after each trial."""
    constraint = [Constraint("retention", ">=", floor)]
    feasible = np.array([max(violations(constraint, row.results, row.diverged).values()) <= 0 for row in rows])
    gaps = np.where(feasible, [row.metric("dice_gap") for row in rows], 0.0)
    retain, forget = (
        np.where(feasible, [row.metric(name) for row in rows], np.nan) for name in ("retain_dice", "forget_dice")
    )
    volumes = [hypervolume(retain[:count], forget[:count]) for count in range(1, len(rows) + 1)]
    return np.maximum.accumulate(gaps), np.array(volumes)


def searched(arm: str, floor: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The curves of one search."""
    return curves(ARMS[arm](floor, seed), floor)


def interval(values: np.ndarray) -> str:
    """Mean and 95 % bootstrap interval over seeds."""
    if np.ptp(values) == 0:
        return f"{values[0]:.3f}"
    found = bootstrap((values,), np.mean, random_state=np.random.default_rng(0)).confidence_interval
    return f"{values.mean():.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(parser.parse_args().seeds)
    figure, axes = plt.subplots(1, len(FLOORS), figsize=(13, 4), sharey=True, layout="constrained")
    lines = ["| retain floor | search | measure | 25 trials | 50 trials | 100 trials |", "|---|---|---|---|---|---|"]
    for floor, axis in zip(FLOORS, axes, strict=True):
        means: dict[str, np.ndarray] = {}
        for arm in ARMS:
            found = joblib.Parallel(2)(joblib.delayed(searched)(arm, floor, seed) for seed in seeds)
            gaps, volumes = (np.stack(one) for one in zip(*found, strict=True))
            means[arm] = gaps.mean(0)
            for measure, values in (("gap", gaps), ("hypervolume", volumes)):
                cells = " | ".join(interval(values[:, count - 1]) for count in SHOWN)
                lines.append(f"| {floor} | {arm} | {measure} | {cells} |")
            low, high = np.percentile(gaps, (10, 90), 0)
            (line,) = axis.plot(range(1, TRIALS + 1), means[arm], label=arm)
            axis.fill_between(range(1, TRIALS + 1), low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        target = means["random"][-1]
        reached = (
            np.argmax(means["constrained TPE"] >= target) + 1 if means["constrained TPE"][-1] >= target else None
        )
        lines.append(
            f"| {floor} | constrained TPE has random search's gap of {target:.3f} after | {reached} trials | | | |"
        )
        axis.set(title=f"retain floor {floor}", xlabel="trials", ylim=(0.6, 0.9))
        print("\n".join(lines[-11:]), flush=True)
    axes[0].set_ylabel("best feasible Dice gap: mean, 10 to 90 %")
    axes[0].legend(loc="lower right")
    here = Path(__file__).parent
    figure.savefig(here / "search.svg")
    (here / "search.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
