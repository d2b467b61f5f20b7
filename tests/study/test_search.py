import math
import pickle
import random

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search_spaces.space import Space
from study.records import METRICS, OBJECTIVES, TrialConfig, trials_table
from study.search import CONSTRAINT, StudySearch, Unfinished

FLOOR, BASELINE = 0.9, "b" * 12
SPACE = Space(
    "noisy_label",
    {
        "noise_rate": FloatDistribution(0.0, 1.0),
        "lr": FloatDistribution(1e-4, 1e-2, log=True),
        "resample": CategoricalDistribution([True, False]),
        "epochs": IntDistribution(1, 20),
    },
)
MIXED = Space(
    "mechanics",
    {
        "forget": CategoricalDistribution(["noisy_labels", "ascent", "random_features"]),
        "moves": CategoricalDistribution(["all", "decoder"]),
        "noise_rate": FloatDistribution(0.5, 1.0),
        "ceiling": FloatDistribution(1.0, 20.0),
        "epochs": IntDistribution(1, 20),
    },
    conditions={
        "moves": {"forget": ["noisy_labels", "ascent"]},
        "noise_rate": {"forget": ["noisy_labels"], "moves": ["all"]},
        "ceiling": {"forget": ["ascent"]},
    },
    fixed={"resample": True},
)
TINY = Space("noisy_label", {"noise_rate": CategoricalDistribution([0.5, 1.0]), "epochs": IntDistribution(1, 3)})


def new(space=SPACE, seed=0, objective="gap", **known):
    return StudySearch(space, OBJECTIVES[objective], BASELINE, seed, FLOOR, **known)


def outcome(gap, retention, diverged=False):
    return {"dice_gap": gap, "retention": retention, "diverged": diverged, "training_iteration": 1}


def signature(knobs, space=SPACE, seed=0):
    return TrialConfig(space.strategy, {**space.fixed, **knobs}, seed, BASELINE).signature


def finished(knobs, space=SPACE, **values):
    """A row of the trial table, as far as a search reads it: knobs that were not searched are null."""
    row = dict.fromkeys(space.knobs) | space.fixed | dict(knobs)
    return {"id": signature(knobs, space), "status": "finished", **row, **outcome(0.5, 0.95), **values}


def pending(knobs, checkpoint=None, space=SPACE, seed=0):
    return Unfinished(signature(knobs, space, seed), dict.fromkeys(space.knobs) | dict(knobs), checkpoint)


def optuna_trials(search):
    return search._ot_study.trials


def states(search):
    return [trial.state for trial in optuna_trials(search)]


def knobs_of(search, count, told=None):
    """The knobs of the next suggestions; each trial is told at once."""
    found = []
    for _ in range(count):
        name = f"ray-{random.getrandbits(64)}"
        suggested = search.suggest(name)
        found.append(suggested["knobs"])
        search.on_trial_complete(name, told(suggested["knobs"]) if told else outcome(0.5, 0.95))
    return found


def test_a_suggestion_is_a_trial_config_within_the_space():
    suggested = new(seed=7).suggest("ray-1")
    knobs = suggested.pop("knobs")
    assert list(knobs) == list(SPACE.domains)
    assert all(domain._contains(domain.to_internal_repr(knobs[name])) for name, domain in SPACE.domains.items())
    assert {name: type(value) for name, value in knobs.items()} == SPACE.knobs
    signature = TrialConfig("noisy_label", knobs, 7, BASELINE).signature
    assert suggested == {"id": signature, "strategy": "noisy_label", "seed": 7, "checkpoint": None}


@pytest.mark.parametrize(("retention", "feasible"), [(0.95, True), (FLOOR, True), (0.89, False), (0.0, False)])
def test_the_retain_floor_is_a_constraint_of_the_optuna_trial(retention, feasible):
    search = new()
    search.suggest("ray-1")
    search.on_trial_complete("ray-1", outcome(0.5, retention))
    (trial,) = optuna_trials(search)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.constraints == {CONSTRAINT: pytest.approx(FLOOR - retention)}
    assert (trial.constraints[CONSTRAINT] <= 0) == feasible


def test_optunas_best_trial_is_the_best_feasible_one():
    search = new()
    for name, gap, retention in (("a", 0.9, 0.1), ("b", 0.4, 0.92), ("c", 0.5, 0.91), ("d", 0.8, 0.89)):
        search.suggest(name)
        search.on_trial_complete(name, outcome(gap, retention))
    assert search._ot_study.best_trial.value == 0.5


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (outcome(math.nan, math.nan), -1.0),
        (outcome(math.nan, math.nan, diverged=True), -1.0),
        (outcome(0.9, 0.99, diverged=True), 0.9),
        (outcome(0.9, math.nan), 0.9),
    ],
)
def test_undefined_and_diverged_results_are_told_complete_and_infeasible(result, told):
    search = new()
    search.suggest("ray-1")
    search.on_trial_result("ray-1", result)
    search.on_trial_complete("ray-1", result)
    (trial,) = optuna_trials(search)
    assert (trial.state, trial.value) == (TrialState.COMPLETE, told)
    assert trial.constraints[CONSTRAINT] > 0
    search.suggest("ray-2")  # the sampler can go on


def test_a_failed_trial_is_told_as_failed_and_late_news_change_nothing():
    search = new()
    search.suggest("ray-1")
    search.on_trial_complete("ray-1", error=True)
    search.on_trial_complete("ray-1", outcome(0.5, 0.95))
    search.suggest("ray-2")
    search.on_trial_complete("ray-2", outcome(0.5, 0.95))
    search.on_trial_complete("ray-2", outcome(0.7, 0.95))
    assert states(search) == [TrialState.FAIL, TrialState.COMPLETE]
    assert optuna_trials(search)[1].value == 0.5


def test_the_constraint_steers_the_search():
    """The gap grows with the noise rate, retention falls with it: feasible up to 0.3, largest gap there."""

    def told(knobs):
        return outcome(knobs["noise_rate"], 1.2 - knobs["noise_rate"])

    rates = [knobs["noise_rate"] for knobs in knobs_of(new(seed=1), 50, told)]
    feasible = [rate <= 0.3 for rate in rates[25:]]
    assert sum(feasible) > 12  # 30 % of random draws are, and almost none of a search without the constraint
    assert max(rate for rate in rates if rate <= 0.3) > 0.25


def test_a_tiny_space_is_suggested_once_over_and_then_the_search_ends():
    search, found = new(TINY), []
    for number in range(6):
        suggested = search.suggest(f"ray-{number}")
        found.append(tuple(suggested["knobs"].values()))
        search.on_trial_complete(f"ray-{number}", outcome(0.5, 0.95))
    assert sorted(found) == [(rate, epochs) for rate in (0.5, 1.0) for epochs in (1, 2, 3)]
    assert search.suggest("ray-6") == StudySearch.FINISHED == "FINISHED"
    assert search.suggest("ray-7") == "FINISHED"
    assert TrialState.RUNNING not in states(search)
    assert states(search).count(TrialState.COMPLETE) == 6


def test_no_repeat_while_trials_are_pending():
    search = new(TINY)
    suggested = [search.suggest(f"ray-{number}") for number in range(6)]
    assert len({config["id"] for config in suggested}) == 6
    for number in range(6):
        search.on_trial_complete(f"ray-{number}", outcome(0.5, 0.95))
    assert TrialState.RUNNING not in states(search)


def finished_rows(tmp_path, knobs, gaps):
    """Rows of the trial table as a resume reads them."""
    marks = {"feasible": True, "on_front": False, "diverged": False, "epochs_done": 1, "seconds": 1.0}
    rest = {"strategy": "noisy_label", "seed": 0, "status": "finished", **dict.fromkeys(METRICS, 0.95), **marks}
    rows = [{"id": str(n), **rest, **knobs[n], "dice_gap": gap} for n, gap in enumerate(gaps)]
    trials_table(tmp_path, SPACE.knobs).upsert(rows)
    return trials_table(tmp_path, SPACE.knobs).rows


def test_a_resumed_search_knows_the_finished_trials(tmp_path):
    knobs = knobs_of(new(), 3)
    rows = finished_rows(tmp_path, knobs, (0.2, 0.6, math.nan))
    rows[1]["retention"] = 0.5
    search = new(ended=rows)
    told = optuna_trials(search)
    assert [trial.params for trial in told] == knobs
    assert [trial.value for trial in told] == [0.2, 0.6, -1.0]
    assert [trial.constraints[CONSTRAINT] > 0 for trial in told] == [False, True, False]
    assert set(states(search)) == {TrialState.COMPLETE}
    assert search._ot_study.best_trial.value == 0.2


def test_finished_trials_are_not_suggested_again():
    knobs = [{"noise_rate": rate, "epochs": epochs} for rate in (0.5, 1.0) for epochs in (1, 2, 3)]
    search = new(TINY, ended=[finished(each, TINY) for each in knobs[:5]])
    assert search.suggest("ray-1")["knobs"] == knobs[5]
    assert not search.exhausted
    assert search.suggest("ray-2") == "FINISHED"
    assert search.exhausted


def test_failed_trials_are_told_as_failed_and_not_suggested_again():
    knobs = [{"noise_rate": rate, "epochs": epochs} for rate in (0.5, 1.0) for epochs in (1, 2, 3)]
    search = new(TINY, ended=[{**finished(each, TINY), "status": "failed"} for each in knobs[1:]])
    assert set(states(search)) == {TrialState.FAIL}
    assert search.suggest("ray-1")["knobs"] == knobs[0]


def test_unfinished_trials_come_first_with_their_checkpoints(tmp_path):
    knobs = knobs_of(new(seed=3), 4)
    rows = finished_rows(tmp_path, knobs, (0.2, 0.6))
    unfinished = [pending(knobs[2], tmp_path / "state.pt", seed=3), pending(knobs[3], seed=3)]
    search = new(seed=3, ended=rows, unfinished=unfinished)
    first, second, third = (search.suggest(f"ray-{number}") for number in range(3))
    assert (first["knobs"], first["checkpoint"]) == (knobs[2], str(tmp_path / "state.pt"))
    assert (second["knobs"], second["checkpoint"]) == (knobs[3], None)
    assert first["id"] == TrialConfig("noisy_label", knobs[2], 3, BASELINE).signature
    assert third["knobs"] not in knobs
    assert third["checkpoint"] is None


def test_a_search_interrupted_in_its_first_trials_does_not_run_them_twice():
    first = new().suggest("ray-0")["knobs"]
    search = new(unfinished=[pending(first)])
    suggested = [search.suggest(f"ray-{number}")["knobs"] for number in range(5)]
    assert suggested[0] == first
    assert len({tuple(knobs.values()) for knobs in suggested}) == 5


def test_the_same_seed_searches_the_same_trials_and_another_seed_others():
    first, again, other = (knobs_of(new(seed=seed), 15) for seed in (1, 1, 2))
    assert first == again
    assert not [knobs for knobs in other if knobs in first]


@pytest.mark.parametrize("way", ["pickle", "save"])
def test_a_search_survives_saving_with_a_trial_under_way(way, tmp_path):
    search = new(seed=5, unfinished=[pending(new(seed=9).suggest("x")["knobs"], tmp_path / "state.pt", seed=5)])
    knobs_of(search, 12)
    search.suggest("pending")
    if way == "pickle":
        restored = pickle.loads(pickle.dumps(search))
    else:
        search.save(str(tmp_path / "search"))
        restored = new(seed=5)
        restored.restore(str(tmp_path / "search"))
    for each in (search, restored):
        each.on_trial_complete("pending", outcome(0.8, 0.95))
    assert optuna_trials(restored)[-1].value == 0.8
    assert optuna_trials(restored)[-1].constraints == {CONSTRAINT: pytest.approx(-0.05)}
    assert knobs_of(restored, 5) == knobs_of(search, 5)


def active(knobs):
    """The knobs that MIXED's conditions leave, written out."""
    names = {"forget", "epochs"}
    if knobs["forget"] != "random_features":
        names.add("moves")
    if knobs["forget"] == "ascent":
        names.add("ceiling")
    if knobs["forget"] == "noisy_labels" and knobs["moves"] == "all":
        names.add("noise_rate")
    return names


def test_a_knob_whose_condition_fails_is_not_suggested():
    found = knobs_of(new(MIXED, seed=2), 40)
    assert all(knobs.keys() == active(knobs) | {"resample"} for knobs in found)
    assert {frozenset(active(knobs)) for knobs in found} == {
        frozenset({"forget", "epochs"}),
        frozenset({"forget", "epochs", "moves"}),
        frozenset({"forget", "epochs", "moves", "ceiling"}),
        frozenset({"forget", "epochs", "moves", "noise_rate"}),
    }


def test_fixed_knobs_are_in_every_config_and_not_in_optuna():
    search = new(MIXED, seed=4)
    suggested = search.suggest("ray-1")
    assert suggested["knobs"]["resample"] is True
    assert suggested["id"] == TrialConfig("mechanics", suggested["knobs"], 4, BASELINE).signature
    assert "resample" not in optuna_trials(search)[0].params


def test_a_resumed_conditional_search_tells_rows_again_with_their_active_knobs(tmp_path):
    knobs = knobs_of(new(MIXED, seed=0), 12)
    assert len({frozenset(active(each)) for each in knobs}) > 2
    table = trials_table(tmp_path, MIXED.knobs)
    table.upsert([{**dict.fromkeys(table.schema.names), **finished(each, MIXED)} for each in knobs])
    rows = trials_table(tmp_path, MIXED.knobs).rows
    assert any(row["noise_rate"] is None for row in rows)
    search = new(MIXED, ended=rows)
    told = [trial.params for trial in optuna_trials(search)]
    assert told == [{name: each[name] for name in each if name != "resample"} for each in knobs]
    assert set(states(search)) == {TrialState.COMPLETE}
    assert not [each for each in knobs_of(search, 10) if each in knobs]


def test_unfinished_conditional_trials_continue_as_themselves(tmp_path):
    knobs = knobs_of(new(MIXED, seed=0), 6)
    waiting = [pending(each, tmp_path / f"{number}.pt", MIXED) for number, each in enumerate(knobs)]
    search = new(MIXED, unfinished=waiting)
    suggested = [search.suggest(f"ray-{number}") for number in range(6)]
    assert [each["knobs"] for each in suggested] == knobs
    assert [each["id"] for each in suggested] == [signature(each, MIXED) for each in knobs]
    assert [each["checkpoint"] for each in suggested] == [str(tmp_path / f"{number}.pt") for number in range(6)]


def test_holding_a_knob_takes_it_and_what_depends_on_it_out_of_the_search():
    held = MIXED.holding({"forget": "random_features"})
    search = new(held)
    found = knobs_of(search, 8)
    assert all(list(knobs) == ["resample", "forget", "epochs"] for knobs in found)
    assert all(set(trial.params) == {"epochs"} for trial in optuna_trials(search))


@pytest.mark.parametrize("objective", ["retrain", "unseen"])
def test_a_distance_is_minimised_and_its_worst_value_is_one(objective):
    metric = f"{objective}_gap"
    search = new(objective=objective)
    assert search._ot_study.direction == StudyDirection.MINIMIZE
    results = [(0.3, 0.95), (0.05, 0.1), (0.1, 0.95), (math.nan, 0.95)]
    rows = []
    for number, (distance, retention) in enumerate(results):
        result = {**outcome(0.5, retention), metric: distance}
        knobs = search.suggest(f"ray-{number}")["knobs"]
        search.on_trial_complete(f"ray-{number}", result)
        rows.append(finished(knobs, **result))
    for each in (search, new(objective=objective, ended=rows)):
        assert [trial.value for trial in optuna_trials(each)] == [0.3, 0.05, 0.1, 1.0]
        assert each._ot_study.best_trial.value == 0.1  # 0.05 keeps too little


def test_a_search_for_a_small_distance_comes_near():
    def told(knobs):
        return {**outcome(0.5, 0.95), "retrain_gap": abs(knobs["noise_rate"] - 0.31)}

    rates = [knobs["noise_rate"] for knobs in knobs_of(new(seed=1, objective="retrain"), 50, told)]
    assert min(abs(rate - 0.31) for rate in rates) < 0.01
    assert sum(abs(rate - 0.31) < 0.1 for rate in rates[25:]) > 12  # a fifth of random draws are
