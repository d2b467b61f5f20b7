import json
import math

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from analysis.figures.charts import importance_figure
from analysis.statistics.knobs import FANOVA, LEAST_TRIALS, PED_ANOVA, importance

DOMAINS = {
    "noise_rate": FloatDistribution(0.0, 1.0),
    "lr": FloatDistribution(1e-5, 1e-2, log=True),
    "epochs": IntDistribution(5, 20),
    "resample": CategoricalDistribution([False, True]),
}
METHODS = pytest.mark.parametrize("method", [FANOVA, PED_ANOVA])


@pytest.fixture
def searched(study):
    """Writes a study of the domains."""

    def write(rows, objective="gap", domains=DOMAINS):
        stored = {name: json.loads(distribution_to_json(domain)) for name, domain in domains.items()}
        return study(*rows, domains=stored, settings={"retain_floor": 0.9, "objective": objective})

    return write


@pytest.fixture
def drawn(trial):
    """Draws trials whose gap is `gap` of their place (0 to 1) in each domain."""

    def draw(count, gap, seed=0):
        rng, rows = np.random.default_rng(seed), []
        for number in range(count):
            places = dict(zip(DOMAINS, rng.random(4), strict=True))
            knobs = {
                "noise_rate": places["noise_rate"],
                "lr": 10 ** (3 * places["lr"] - 5),
                "epochs": 5 + int(16 * places["epochs"]),
                "resample": places["resample"] > 0.5,
            }
            rows.append(trial(str(number), 0.9, 0.9, **knobs) | {"dice_gap": gap(places)})
        return rows

    return draw


@METHODS
@pytest.mark.parametrize(
    ("objective", "direction"),
    [
        ("gap", "maximize"),
        pytest.param("retrain", "minimize", marks=pytest.mark.slow),
        pytest.param("front", "maximize", marks=pytest.mark.slow),
    ],
)
def test_the_shares_are_optunas(searched, drawn, method, objective, direction):
    rows = drawn(60, lambda places: places["lr"] - (places["noise_rate"] - 0.4) ** 2)
    rows = [row | {"retrain_gap": row["dice_gap"] ** 2} for row in rows]
    told = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))
    for row in rows:
        told.enqueue_trial({name: row[name] for name in DOMAINS})
        asked = told.ask(DOMAINS)
        assert asked.params == {name: row[name] for name in DOMAINS}
        told.tell(asked, row["retrain_gap" if objective == "retrain" else "dice_gap"])
    evaluator = FanovaImportanceEvaluator(seed=0) if method == FANOVA else PedAnovaImportanceEvaluator()
    expected = optuna.importance.get_param_importances(told, evaluator=evaluator)
    found = importance(searched(rows, objective), method)
    assert found == pytest.approx(expected)
    assert list(found) == list(expected)


def test_the_best_trials_are_the_largest_gaps_and_the_smallest_distances(searched, drawn):
    """Where the noise rate is low, the value is low; elsewhere the learning rate decides how high it is."""
    rows = drawn(150, lambda places: 0.0 if places["noise_rate"] < 0.1 else 0.5 + 0.5 * places["lr"])
    rows = [row | {"retrain_gap": row["dice_gap"]} for row in rows]
    assert next(iter(importance(searched(rows, "gap"), PED_ANOVA))) == "lr"
    assert next(iter(importance(searched(rows, "retrain"), PED_ANOVA))) == "noise_rate"


@METHODS
def test_knobs_that_some_trials_lack_or_that_never_vary_are_left_out(searched, drawn, method):
    rows = drawn(40, lambda places: places["noise_rate"])
    rows = [row | {"epochs": 10} | ({"lr": None} if row["id"] in ("3", "7") else {}) for row in rows]
    assert importance(searched(rows), method).keys() == {"noise_rate", "resample"}
    without = {name: domain for name, domain in DOMAINS.items() if name != "noise_rate"}
    assert importance(searched(rows, domains=without), method) == {"resample": 1}
    assert importance(searched(rows, domains={"lr": DOMAINS["lr"], "epochs": DOMAINS["epochs"]}), method) == {}
    assert importance(searched(rows, domains={}), method) == {}


@METHODS
def test_only_finished_trials_with_a_value_within_the_domains_count(searched, drawn, method):
    rows = drawn(LEAST_TRIALS, lambda places: places["noise_rate"])
    others = [row | {"id": f"other-{row['id']}"} for row in drawn(7, lambda places: 1 - places["noise_rate"], seed=1)]
    changes = (
        {"status": "running"},
        {"status": "pruned"},
        {"diverged": True},
        {"dice_gap": math.nan},
        {"dice_gap": None},
        {"lr": 0.1},
        {"epochs": 21},
    )
    noise = [row | change for row, change in zip(others, changes, strict=True)]
    alone = importance(searched(rows), method)
    assert alone
    assert importance(searched([*noise, *rows]), method) == alone
    assert importance(searched([*noise, *rows[1:]]), method) == {}


@METHODS
def test_nothing_decides_what_is_always_the_same(searched, drawn, method):
    assert importance(searched(drawn(30, lambda places: 0.5)), method) == {}
    assert importance(searched([]), method) == {}


def test_the_figure_has_a_bar_per_method_and_knob():
    found = {FANOVA: {"lr": 0.7, "epochs": 0.3}, PED_ANOVA: {"epochs": 0.6, "lr": 0.4}}
    figure = importance_figure(found, "Dice gap")
    assert "Dice gap" in figure.layout.title.text
    assert {bar.name: dict(zip(bar.y, bar.x, strict=True)) for bar in figure.data} == found
    assert importance_figure({FANOVA: {}, PED_ANOVA: {"lr": 1.0}}, "gap").data[1].x == (1,)
