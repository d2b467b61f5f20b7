import math
import random
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler

from study.records.constraints import parse
from study.records.metrics import METRICS
from study.records.objectives import OBJECTIVES
from study.search.stopping import Halving, penalised

FLOOR = parse("retention>=0.9")
GAP = OBJECTIVES["gap"]
STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


class Driver:
    """What Tune does with a scheduler: trials with ids of its own, results, and the end of those that are stopped."""

    def __init__(self, epochs=20, grace=5, reports=(), constraints=(FLOOR,), objective=GAP):
        self.halving = Halving(objective, constraints, epochs, grace, reports)
        self.trials, self.rows = {}, []

    def report(self, name, epoch, gap, retention=1.0, finished=False, diverged=False, seconds=1.0):
        if name not in self.trials:
            self.trials[name] = SimpleNamespace(trial_id=f"tune-{random.random()}", config={"id": name})
            self.halving.on_trial_add(None, self.trials[name])
        measured = {**dict.fromkeys(METRICS, 0.5), "dice_gap": gap, "retention": retention}
        row = {"id": name, "epoch": epoch, "seconds": seconds, **measured}
        self.rows.append(row)
        result = {**row, "finished": finished, "diverged": diverged, "training_iteration": epoch}
        decision = self.halving.on_trial_result(None, self.trials[name], result)
        if decision == STOP or finished:
            self.halving.on_trial_complete(None, self.trials[name], result)
            self.halving.on_trial_remove(None, self.trials[name])
        return decision

    def run(self, name, curve, finished=True):
        """Decisions epoch by epoch, up to the first STOP; the curve gives (gap, retention) of each epoch."""
        decisions = []
        for epoch, (gap, retention) in enumerate(curve, 1):
            last = finished and epoch == len(curve)
            decisions.append(self.report(name, epoch, gap, retention, last))
            if decisions[-1] == STOP:
                break
        return decisions


class BruteForce:
    """ASHA written out: a trial's first score at each rung must reach the lower quartile of those before it.

    Rungs are a third of their epochs apart: of those that a quarter is taken from at each, as many epochs are left.
    """

    def __init__(self, epochs, grace):
        self.rungs = [rung for k in range(20) if (rung := min(grace, epochs) * (4 / 3) ** k) <= epochs + 1e-9]
        self.scores = {rung: {} for rung in self.rungs}

    def goes_on(self, name, epoch, score):
        reached = [rung for rung in self.rungs if rung <= epoch]
        if not reached or name in self.scores[reached[-1]]:
            return True
        before = sorted(value for value in self.scores[reached[-1]].values() if not math.isnan(value))
        self.scores[reached[-1]][name] = score
        if not before:
            return True
        place = (len(before) - 1) / 4
        low, high = before[math.floor(place)], before[math.ceil(place)]
        return not score < low + (high - low) * (place - math.floor(place))


def curves(seed, trials, longest):
    """Random walks of gap and retention, of random lengths."""
    rng = random.Random(seed)
    found = {}
    for number in range(trials):
        gap, retention, curve = rng.uniform(-0.1, 0.4), rng.uniform(0.3, 1.0), []
        for _ in range(rng.randint(1, longest)):
            gap, retention = gap + rng.uniform(-0.05, 0.1), min(1.0, retention + rng.uniform(-0.1, 0.1))
            curve.append((gap, retention))
        found[f"t{number}"] = curve
    return found


def interleaved(seed, of, at_once=4):
    """(trial, epoch, gap, retention, finished) in the order in which four workers would report; sends back STOPs."""
    rng, waiting, running = random.Random(seed), list(of), {}
    while waiting or running:
        while waiting and len(running) < at_once:
            running[waiting.pop(0)] = 0
        name = rng.choice(list(running))
        running[name] += 1
        epoch, last = running[name], running[name] == len(of[name])
        stopped = yield (name, epoch, *of[name][epoch - 1], last)
        if stopped or last:
            del running[name]


def score(gap, retention):
    """The gap less the fraction that retention lacks of 0.9."""
    return gap - max(0.0, (0.9 - retention) / 0.9)


def drive(driver, events, count=10**9):
    """Tell a scheduler of events until they end or `count` have been told; its decisions."""
    decisions, answer = [], None
    try:
        while len(decisions) < count:
            event = events.send(answer)
            decisions.append((event[0], event[1], driver.report(*event)))
            answer = decisions[-1][2] == STOP
    except StopIteration:
        pass
    return decisions


@pytest.mark.parametrize(("epochs", "grace"), [(20, 5), (27, 1), (50, 4), (9, 3), (6, 20), (1, 1)])
def test_decisions_are_those_of_a_brute_force_asha(epochs, grace):
    for seed in range(3):
        driver, brute, told = Driver(epochs, grace), BruteForce(epochs, grace), []
        events, answer, halted = interleaved(seed, curves(seed, 30, epochs)), None, set()
        try:
            while True:
                name, epoch, gap, retention, finished = events.send(answer)
                answer = driver.report(name, epoch, gap, retention, finished) == STOP
                told.append(answer)
                assert answer != brute.goes_on(name, epoch, score(gap, retention))
                halted |= {name} if answer and not finished else set()
        except StopIteration:
            pass
        assert driver.halving.stopped == halted
        assert epochs < 9 or 3 < len(halted) < 30


def test_no_trial_is_stopped_before_its_grace_is_over():
    driver = Driver(epochs=20, grace=5)
    for number in range(12):
        decisions = driver.run(f"t{number}", [(-number / 20, 0.1)] * 20)
        assert decisions == ([CONTINUE] * 20 if number == 0 else [CONTINUE] * 4 + [STOP])


def test_a_collapsed_trial_is_stopped_and_one_that_dips_early_and_comes_back_is_not():
    driver = Driver(epochs=20, grace=5)
    for number in range(8):
        driver.run(f"plain-{number}", [(number / 20, 1.0)] * 20)
    # Nothing is kept and so nothing is forgotten: 0 - 1. The gap of a network that has not forgotten yet is 0 too.
    assert driver.run("collapsed", [(0.0, 0.0)] * 20) == [CONTINUE] * 4 + [STOP]
    dip = [(-0.3, 0.05), (-0.1, 0.2), (0.2, 0.4), (0.4, 0.6)] + [(0.6, 0.72)] * 5 + [(0.7, 0.95)] * 11
    assert driver.run("dips", dip) == [CONTINUE] * 20
    # Rungs are after 5, 7, 9, 12 and 16 epochs.
    assert driver.run("collapses later", [(0.5, 1.0)] * 10 + [(0.0, 0.0)] * 10) == [CONTINUE] * 11 + [STOP]
    assert {"collapsed", "collapses later"} <= driver.halving.stopped
    assert "dips" not in driver.halving.stopped


def test_a_trial_that_ends_behind_the_others_has_finished_and_is_not_pruned():
    driver = Driver(epochs=20, grace=5)
    driver.run("good", [(0.5, 1.0)] * 5)
    assert driver.run("bad", [(0.1, 1.0)] * 5)[:4] == [CONTINUE] * 4
    assert driver.halving.stopped == set()
    driver.run("worse", [(0.05, 1.0)] * 6)
    assert driver.halving.stopped == {"worse"}


@pytest.mark.parametrize("cut", [10, 60, 120])
def test_one_that_is_rebuilt_from_history_rows_decides_as_the_uninterrupted_one(cut):
    for seed in range(3):
        told = interleaved(seed, curves(seed, 30, 20))
        whole = Driver()
        first = drive(whole, told, cut)
        events, stopped = told, [name for name, _, decision in first if decision == STOP]
        rows = [  # the history table has them by trial, and neither who was stopped nor who has finished
            {**row, "diverged": False}
            for name in dict.fromkeys(row["id"] for row in whole.rows)
            for row in whole.rows
            if row["id"] == name
        ]
        rebuilt, answer, compared = Driver(reports=rows), first[-1][2] == STOP, 0
        try:
            while True:
                event = events.send(answer)
                decision = whole.report(*event)
                assert rebuilt.report(*event) == decision
                answer, compared = decision == STOP, compared + 1
        except StopIteration:
            pass
        assert compared > 20
        assert rebuilt.halving.stopped == whole.halving.stopped - set(stopped)


def test_an_epoch_that_is_reported_again_after_a_restart_counts_once():
    driver = Driver()
    driver.run("a", [(0.4, 1.0)] * 7, finished=False)
    driver.run("b", [(0.5, 1.0)] * 7, finished=False)
    assert driver.report("a", 6, -0.5) == driver.report("a", 7, -0.5) == CONTINUE  # it has passed its rung
    assert driver.report("c", 5, 0.42) == STOP  # 0.4 + (0.5 - 0.4) / 4
    assert driver.report("d", 5, 0.411) == CONTINUE  # between 0.4 and 0.42


@pytest.mark.parametrize("again", [False, True])
def test_a_constraint_on_seconds_is_on_those_of_all_epochs_so_far(again):
    """Five epochs of 30 s miss 100 s by a half, though each of them is short; so they do after a restart."""
    driver = Driver(constraints=(parse("seconds<=100"),))
    for epoch in range(1, 5):
        driver.report("quick", epoch, 0.4)
        driver.report("slow", epoch, 0.7, seconds=30.0)
    if again:
        driver = Driver(
            constraints=(parse("seconds<=100"),), reports=[{**row, "diverged": False} for row in driver.rows]
        )
        driver.report("slow", 4, 0.7, seconds=30.0)
    assert driver.report("quick", 5, 0.4) == CONTINUE
    assert driver.report("slow", 5, 0.7, seconds=30.0) == STOP  # 0.2


def test_a_trial_without_a_score_does_not_disturb_the_comparison():
    driver = Driver()
    driver.report("undefined", 5, math.nan, math.nan)
    assert driver.report("first", 5, 0.4) == CONTINUE
    assert driver.report("second", 5, 0.3) == STOP
    assert driver.report("third", 5, 0.5) == CONTINUE


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"dice_gap": 0.5, "retention": 0.95, "seconds": 60.0}, 0.5),  # nothing is won by keeping more
        ({"dice_gap": 0.5, "retention": 0.45, "seconds": 60.0}, 0.0),
        ({"dice_gap": 0.0, "retention": 0.0, "seconds": 60.0}, -1.0),
        ({"dice_gap": 0.5, "retention": 0.45, "seconds": 150.0}, -0.5),
        ({"dice_gap": 0.5, "retention": 0.95, "seconds": 60.0, "diverged": True}, -1.5),
        ({"dice_gap": 0.5, "retention": math.nan, "seconds": 60.0}, -0.5),
        ({"dice_gap": math.nan, "retention": 0.95, "seconds": 60.0}, math.nan),
    ],
    ids=str,
)
def test_a_score_is_the_objective_less_what_the_constraints_miss(values, expected):
    row = {"diverged": False, **values}
    assert penalised(row, GAP, (FLOOR, parse("seconds<=100"))) == pytest.approx(expected, nan_ok=True)


def test_a_distance_is_compared_by_its_smallness():
    row = {"retrain_gap": 0.2, "retention": 0.45, "diverged": False}
    assert penalised(row, OBJECTIVES["retrain"], [FLOOR]) == pytest.approx(-0.7)
    assert penalised(row, OBJECTIVES["retrain"], [FLOOR], penalty=0.1) == pytest.approx(-0.25)


def test_tune_needs_to_name_no_metric():
    driver = Driver()
    assert driver.halving.metric is None
    assert driver.halving.set_search_properties(None, None)
    driver.report("a", 5, 0.4)
    driver.halving.on_trial_error(None, driver.trials["a"])
    driver.halving.on_trial_remove(None, driver.trials["a"])
    assert driver.report("b", 5, 0.3) == STOP  # what the failed trial reached still counts
