"""What early stopping saves: trial-seconds until a search has 95 % of the best feasible gap, with and without it, on
replayed trials (replay.py), four at a time in virtual time.

`python benchmarks/stopping.py [--seeds 5] [--floors 0.9 0.99]`
"""

import argparse
import heapq
from types import SimpleNamespace

import joblib
import numpy as np
import optuna
from ray.tune.schedulers import TrialScheduler
from replay import EPOCHS, SPACE, Replay, row_of

from study.records.constraints import Constraint, violations
from study.records.objectives import OBJECTIVES
from study.records.trials import FINISHED, PRUNED
from study.search.searcher import Problem, StudySearch
from study.search.stopping import Halving

GAP, AT_ONCE, MOST_TRIALS = OBJECTIVES["gap"], 4, 400
REPLAY = Replay()


def best_gap(floor: float) -> float:
    """The best feasible gap of the recorded grid, at any number of epochs that SPACE allows."""
    from replay import FORGET_WEIGHT, LR, NOISE_RATE

    grid = [(noise, lr, weight) for noise in NOISE_RATE for lr in LR for weight in FORGET_WEIGHT]
    reports = (
        report
        for noise, lr, weight in grid
        for report in REPLAY.epochs({"noise_rate": noise, "lr": lr, "forget_weight": weight, "epochs": EPOCHS})[4:]
    )
    return max(report["dice_gap"] for report in reports if report["retention"] >= floor)


def seconds_to(target: float, floor: float, seed: int, grace: int | None) -> tuple[float, int, int]:
    """Trial-seconds until a finished feasible trial has the target; trials finished and stopped by then."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    constraints = [Constraint("retention", ">=", floor)]
    search = StudySearch(Problem(SPACE, GAP, constraints, "replay", seed))
    halving = Halving(GAP, constraints, EPOCHS, grace) if grace else None
    spent, counts, started = 0.0, {FINISHED: 0, PRUNED: 0}, 0
    queue: list[tuple[float, int, int, SimpleNamespace, list]] = []

    def begin(now: float) -> None:
        nonlocal started
        config = search.suggest(str(started))
        reports = REPLAY.epochs(config["knobs"])
        trial = SimpleNamespace(config=config)
        if halving:
            halving.on_trial_add(None, trial)
        heapq.heappush(queue, (now + reports[0]["seconds"], started, 0, trial, reports))
        started += 1

    for _ in range(AT_ONCE):
        begin(0.0)
    while queue and started < MOST_TRIALS:
        now, number, place, trial, reports = heapq.heappop(queue)
        report = {**reports[place], "finished": place + 1 == len(reports)}
        spent += report["seconds"]
        stop = (
            halving is not None
            and not report["finished"]
            and (halving.on_trial_result(None, trial, report) == TrialScheduler.STOP)
        )
        if not (stop or report["finished"]):
            heapq.heappush(queue, (now + reports[place + 1]["seconds"], number, place + 1, trial, reports))
            continue
        status = PRUNED if stop else FINISHED
        counts[status] += 1
        row = row_of(trial.config["id"], trial.config["knobs"], reports[: place + 1], status)
        search.ended(row)
        missed = max(violations(constraints, row.results, row.diverged).values())
        if status == FINISHED and row.metric("dice_gap") >= target and missed <= 0:
            return spent, counts[FINISHED], counts[PRUNED]
        begin(now)
    return np.inf, counts[FINISHED], counts[PRUNED]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--floors", type=float, nargs="+", default=[0.9, 0.99, 1.0])
    given = parser.parse_args()
    print("| retain floor | early stopping | trial-seconds, median (each seed) | trials finished / stopped |")
    print("|---|---|---|---|")
    for floor in given.floors:
        target = 0.95 * best_gap(floor)
        for grace in (None, 5, 10, 15):
            run = joblib.delayed(seconds_to)
            found = joblib.Parallel(2)(run(target, floor, seed, grace) for seed in range(given.seeds))
            spent, finished, stopped = (np.array(one, float) for one in zip(*found, strict=True))
            each = ", ".join(f"{one:.0f}" for one in sorted(spent))
            name = f"after {grace} epochs" if grace else "none"
            counts = f"{np.median(finished):.0f} / {np.median(stopped):.0f}"
            print(f"| {floor} | {name} | {np.median(spent):.0f} ({each}) | {counts} |", flush=True)


if __name__ == "__main__":
    main()
