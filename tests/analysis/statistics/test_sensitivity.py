import json
import math
from dataclasses import replace

import numpy as np
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from analysis.statistics.knobs import sensitivity, sweeps
from study.records.metrics import METRICS as METRIC_TABLE

DOMAINS = {
    "noise_rate": FloatDistribution(0.2, 1.0),
    "lr": FloatDistribution(1e-5, 1e-2, log=True),
    "epochs": IntDistribution(5, 25),
    "resample": CategoricalDistribution([False, True]),
}
METRICS = ("retain_dice", "forget_dice", "dice_gap")


@pytest.fixture
def searched(study):
    """Writes a study of the domains and reads it back, and the row of its first trial."""

    def write(rows, domains=DOMAINS):
        data = study(
            *rows, domains={name: json.loads(distribution_to_json(domain)) for name, domain in domains.items()}
        )
        return data, data.rows[0]

    return write


@pytest.fixture
def drawn(trial):
    """Draws trials whose retain and forget Dice are functions of the knobs; the first lies in the middle."""

    def draw(count, retain, forget=lambda knobs: 0.3, seed=0):
        rng, rows = np.random.default_rng(seed), []
        for number in range(count):
            noise, decade, epochs, resample = rng.random(4) if number else (0.5, 0.5, 0.5, 0.9)
            knobs = {
                "noise_rate": 0.2 + 0.8 * noise,
                "lr": 10 ** (3 * decade - 5),
                "epochs": 5 + int(21 * epochs),
                "resample": bool(resample > 0.5),
            }
            rows.append(trial(str(number), retain(knobs), forget(knobs), **knobs))
        return rows

    return draw


def with_knobs(row, **knobs):
    return replace(row, knobs={**row.knobs, **knobs})


def linear(knobs):
    return 0.5 + 0.1 * knobs["noise_rate"] + 0.02 * math.log10(knobs["lr"]) + 0.001 * knobs["epochs"]


def slopes(found, metric):
    return dict(zip(found["knob"], found[metric], strict=True))


def test_a_linear_objective_has_its_slopes_per_tenth_of_the_range(searched, drawn):
    found = sensitivity(*searched(drawn(40, linear, lambda knobs: 0.4 - linear(knobs) / 2)))
    # a tenth of the range: 0.08 of the noise rate, 0.3 decades of the learning rate, 2 epochs
    retain = {"noise_rate": 0.1 * 0.08, "lr": 0.02 * 0.3, "epochs": 0.001 * 2}
    assert slopes(found, "value") == pytest.approx({"noise_rate": 0.6, "lr": 10**-3.5, "epochs": 15})
    assert slopes(found, "retain_dice") == pytest.approx(retain)
    assert slopes(found, "forget_dice") == pytest.approx({name: -slope / 2 for name, slope in retain.items()})
    assert slopes(found, "dice_gap") == pytest.approx({name: 1.5 * slope for name, slope in retain.items()})
    assert found[[f"{metric}_error" for metric in METRICS]].to_numpy() == pytest.approx(0, abs=1e-9)


def test_slopes_and_errors_are_those_of_the_normal_equations(searched, drawn):
    rng = np.random.default_rng(5)
    rows = drawn(20, lambda knobs: rng.random())
    found = sensitivity(*searched(rows, {"lr": DOMAINS["lr"]})).iloc[0]
    steps = np.array([math.log10(row["lr"] / rows[0]["lr"]) / 0.3 for row in rows])
    nearest = np.argsort(abs(steps))[:6]  # three for each of intercept and slope
    design = np.stack([np.ones(6), steps[nearest]], 1)
    weights = np.diag(1 - (steps[nearest] / (1.001 * abs(steps[nearest]).max())) ** 2)
    inverse = np.linalg.inv(design.T @ weights @ design)
    for metric in METRICS:
        values = np.array([row[metric] for row in rows])[nearest]
        fit = inverse @ design.T @ weights @ values
        left = values - design @ fit
        variance = left @ weights @ left / (6 - 2)
        assert found[metric] == pytest.approx(fit[1])
        assert found[f"{metric}_error"] == pytest.approx(math.sqrt(variance * inverse[1, 1]))


def test_a_metric_that_the_study_adds_has_slopes_where_its_neighbours_have_it(searched, drawn):
    study, row = searched(drawn(40, linear))
    added = METRIC_TABLE["mae_gap"]._replace(column="error", title="Error")
    trials = study.trials.assign(error=2 * study.trials["retain_dice"])
    study = replace(study, metrics={**study.metrics, "error": added}, trials=trials)
    found = sensitivity(study, row)
    np.testing.assert_allclose(found["error"], 2 * found["retain_dice"])
    unknown = sensitivity(replace(study, trials=trials.assign(error=math.nan)), row)
    assert unknown["error"].isna().all()
    np.testing.assert_allclose(unknown["retain_dice"], found["retain_dice"])


def test_trials_far_away_do_not_count(searched, drawn):
    rows = drawn(60, lambda knobs: 0.5 + 0.1 * knobs["noise_rate"] if abs(knobs["noise_rate"] - 0.6) < 0.2 else 0)
    found = sensitivity(*searched(rows, {"noise_rate": DOMAINS["noise_rate"]}))
    assert slopes(found, "retain_dice") == pytest.approx({"noise_rate": 0.008})


def test_categorical_knobs_are_held(searched, drawn):
    rows = drawn(60, lambda knobs: linear(knobs) if knobs["resample"] else 1 - linear(knobs))
    study, row = searched(rows)
    own, other = (
        slopes(sensitivity(study, with_knobs(row, resample=value)), "retain_dice")["noise_rate"]
        for value in (True, False)
    )
    assert (own, other) == pytest.approx((0.008, -0.008))
    lacking = [row | {"resample": None} if row["noise_rate"] > 0.6 or row["id"] == "0" else row for row in rows]
    ones = [one if one["resample"] is not None else one | {"retain_dice": linear(one)} for one in lacking]
    assert slopes(sensitivity(*searched(ones)), "retain_dice")["noise_rate"] == pytest.approx(0.008)


def test_only_finished_trials_of_the_same_strategy_and_knobs_are_neighbours(searched, drawn):
    rows = drawn(40, linear)
    changes = (
        {"status": "pruned"},
        {"diverged": True},
        {"strategy": "max_loss"},
        {"epochs": None},
        {"retain_dice": float("nan")},
        {"forget_dice": None},
    )
    bad = [rows[0] | {"id": f"bad-{place}", "retain_dice": 0.0} | change for place, change in enumerate(changes)]
    study, row = searched([*rows, *bad])
    assert slopes(sensitivity(study, row), "retain_dice") == pytest.approx(
        {"noise_rate": 0.008, "lr": 0.006, "epochs": 0.002}
    )


def test_three_trials_per_coefficient_are_needed(searched, drawn):
    rows = [row | {"resample": True} for row in drawn(12, linear)]
    assert len(sensitivity(*searched(rows))) == 3
    assert sensitivity(*searched(rows[:11])).empty


def test_a_knob_that_the_trial_lacks_or_that_is_not_a_range_has_no_row(searched, drawn):
    rows = drawn(40, linear)
    study, row = searched(rows)
    without = replace(row, knobs={name: value for name, value in row.knobs.items() if name != "noise_rate"})
    assert sensitivity(study, without)["knob"].tolist() == ["lr", "epochs"]
    held = DOMAINS | {"epochs": IntDistribution(9, 9)}
    assert sensitivity(*searched(rows, held))["knob"].tolist() == ["noise_rate", "lr"]
    assert sensitivity(*searched(rows, {"resample": DOMAINS["resample"]})).empty
    assert sensitivity(*searched(rows, {})).empty


@pytest.mark.filterwarnings("error")
def test_what_the_neighbours_cannot_tell_is_nan(searched, drawn):
    """The learning rate never varies, or only ever along with the epochs."""
    rows = [row | {"lr": 1e-3} for row in drawn(40, lambda knobs: 0.1 * knobs["noise_rate"])]
    found = sensitivity(*searched(rows)).set_index("knob")
    assert found.loc["lr", [*METRICS, *(f"{metric}_error" for metric in METRICS)]].isna().all()
    assert found.loc["noise_rate", "retain_dice"] == pytest.approx(0.008)
    together = [row | {"lr": 10 ** (3 * (row["epochs"] - 5) / 20 - 5)} for row in rows]
    found = sensitivity(*searched(together)).set_index("knob")
    assert found.loc["noise_rate", "retain_dice"] == pytest.approx(0.008)
    assert found["retain_dice"].isna().to_dict() == {"noise_rate": False, "lr": True, "epochs": True}


def test_a_sweep_has_the_trials_own_value_and_a_tenth_of_the_range_to_either_side(searched, trial):
    exact = 1e-3 * (1 + 1e-9)  # another value would be another trial
    study, row = searched([trial("a", 0.7, 0.2, noise_rate=0.6, lr=exact, epochs=15)])
    found = sweeps(study, row)
    assert found.keys() == {"noise_rate", "lr", "epochs"}
    assert found["noise_rate"] == pytest.approx([0.52, 0.6, 0.68])
    assert found["lr"] == pytest.approx([1e-3 / 10**0.3, 1e-3, 1e-3 * 10**0.3], rel=1e-3)
    assert found["lr"][1] == exact
    assert found["epochs"] == [13, 15, 17]
    at_the_ends = sweeps(study, with_knobs(row, noise_rate=1.0, lr=1e-5, epochs=24))
    assert at_the_ends["noise_rate"] == pytest.approx([0.92, 1.0])
    assert at_the_ends["lr"] == pytest.approx([1e-5, 1e-5 * 10**0.3], rel=1e-3)
    assert at_the_ends["epochs"] == [22, 24]


def test_a_knob_that_has_nothing_beside_it_is_not_swept(searched, trial):
    domains = DOMAINS | {"noise_rate": FloatDistribution(0.6, 0.6), "epochs": IntDistribution(6, 6)}
    study, row = searched([trial("a", 0.7, 0.2, noise_rate=0.6, lr=None, epochs=6)], domains)
    assert sweeps(study, row) == {}


def test_a_narrow_range_is_swept_by_its_own_step(searched, trial):
    study, row = searched([trial("a", 0.7, 0.2, epochs=6)], {"epochs": IntDistribution(5, 8)})
    assert sweeps(study, row) == {"epochs": [5, 6, 7]}


def test_sweeps_keep_the_step_of_their_domain(searched, trial):
    domains = {"noise_rate": FloatDistribution(0, 0.9, step=0.05), "epochs": IntDistribution(4, 32, step=4)}
    study, row = searched([trial("a", 0.7, 0.2, noise_rate=0.45, epochs=16)], domains)
    assert sweeps(study, row) == {"noise_rate": pytest.approx([0.35, 0.45, 0.55]), "epochs": [12, 16, 20]}


@pytest.mark.parametrize("log", [True, False])
def test_sweeps_stay_in_the_domain(searched, trial, log):
    """Ends that four digits do not hold."""
    domains = {
        "noise_rate": FloatDistribution(0.123456, 0.987654, log=log),
        "lr": FloatDistribution(1.23456e-5, 9.87654e-5, log=log),
        "epochs": IntDistribution(1, 100, log=log),
    }
    rng = np.random.default_rng(0)
    study, row = searched([trial("a", 0.7, 0.2)], domains)
    for number in range(60):
        places = rng.random(3) if number > 3 else np.full(3, (0.1, 0.9, 0.0, 1.0)[number])
        own = {}
        for (name, domain), place in zip(domains.items(), places, strict=True):
            low, high = domain.low, domain.high
            value = low * (high / low) ** place if log else low + place * (high - low)
            own[name] = round(value) if name == "epochs" else min(float(value), high)
        for name, values in sweeps(study, with_knobs(row, **own)).items():
            assert 2 <= len(values) <= 3
            assert own[name] in values
            assert all(type(value) is type(own[name]) for value in values)
            assert all(domains[name].low <= value <= domains[name].high for value in values)
