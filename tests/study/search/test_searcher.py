import math
from collections import Counter
from types import SimpleNamespace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

from search_spaces.space import Space
from study.records.constraints import parse
from study.records.evidence import EVIDENCE
from study.records.failure import StudyError
from study.records.metrics import METRICS
from study.records.rows import TrialRow
from study.records.tables import trials_table
from study.search.samplers import SAMPLERS, Sampler
from study.search.searcher import Unfinished

FLOOR, SHORT = parse("retention>=0.9"), parse("seconds<=100")
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
        "noise_rate": FloatDistribution(0.5, 1.0, step=0.25),
        "ceiling": CategoricalDistribution([1.0, 20.0]),
        "epochs": IntDistribution(1, 2),
    },
    conditions={
        "moves": {"forget": ["noisy_labels", "ascent"]},
        "noise_rate": {"forget": ["noisy_labels"], "moves": ["all"]},
        "ceiling": {"forget": ["ascent"]},
    },
    fixed={"resample": True},
)
TINY = Space("noisy_label", {"noise_rate": CategoricalDistribution([0.5, 1.0]), "epochs": IntDistribution(1, 3)})
ALL = [{"noise_rate": rate, "epochs": epochs} for rate in (0.5, 1.0) for epochs in (1, 2, 3)]
ALL_MIXED = [  # written out
    *({"forget": "noisy_labels", "moves": "all", "noise_rate": rate} for rate in (0.5, 0.75, 1.0)),
    {"forget": "noisy_labels", "moves": "decoder"},
    *({"forget": "ascent", "moves": moves, "ceiling": most} for moves in ("all", "decoder") for most in (1.0, 20.0)),
    {"forget": "random_features"},
]
ALL_MIXED = [{"resample": True, **knobs, "epochs": epochs} for knobs in ALL_MIXED for epochs in (1, 2)]
A, B, C = ({"noise_rate": rate, "lr": 1e-3, "resample": True, "epochs": 5} for rate in (0.1, 0.2, 0.3))


def key(knobs):
    return tuple(sorted(knobs.items()))


def suggested(search, count):
    return [search.suggest(f"ray-{number}") for number in range(count)]


def test_a_suggestion_is_a_trial_config_within_the_space(bench, signature):
    config = bench.search(SPACE, seed=7).suggest("ray-1")
    knobs = config["knobs"]
    assert list(knobs) == list(SPACE.domains)
    assert SPACE.contains(knobs)
    assert {name: type(value) for name, value in knobs.items()} == SPACE.knobs
    rest = {"strategy": "noisy_label", "seed": 7, "checkpoint": None, "one_by_one": False}
    assert config == {"id": signature(SPACE, knobs, 7), "knobs": knobs, **rest}
    assert bench.trials[0].user_attrs == {"id": config["id"]}


# What Optuna hears of a trial. Of a row that ends: state, value, violations of retention >= 0.9 and seconds <= 100.
TOLD = {
    "finished": ({}, "COMPLETE", 0.5, (-1 / 18, -0.99)),
    "slow": ({"seconds": 150.0}, "COMPLETE", 0.5, (-1 / 18, 0.5)),
    "infeasible": ({"retention": 0.45, "dice_gap": 0.9}, "COMPLETE", 0.9, (0.5, -0.99)),
    "on the bound": ({"retention": 0.9}, "COMPLETE", 0.5, (0.0, -0.99)),
    "diverged": ({"dice_gap": 0.25, "diverged": True}, "COMPLETE", 0.25, (1.0, 1.0)),
    "undefined": ({"dice_gap": math.nan, "retention": math.nan}, "COMPLETE", -1.0, (1.0, -0.99)),
    "not there": ({"dice_gap": None, "retention": None}, "COMPLETE", -1.0, (1.0, -0.99)),
    "pruned": ({"status": "pruned", "epochs_done": 5}, "PRUNED", 0.5, (-1 / 18, -0.99)),
    "pruned undefined": ({"status": "pruned", "dice_gap": math.nan}, "PRUNED", -1.0, (-1 / 18, -0.99)),
    "failed": ({"status": "failed"}, "FAIL", None, None),
    "never begun": (
        {"status": "failed", "dice_gap": None, "retention": None, "epochs_done": 0, "diverged": False},
        "FAIL",
        None,
        None,
    ),
}


@pytest.mark.parametrize("case", TOLD)
@pytest.mark.parametrize("way", ["at its end", "when the study continues", "as an earlier study's"])
def test_optuna_is_told_of_a_trial_as_what_it_is(bench, row_of, way, case):
    values, state, value, missed = TOLD[case]
    limits = (FLOOR, SHORT)
    if way == "at its end":
        search = bench.search(SPACE, constraints=limits)
        knobs = search.suggest("ray")["knobs"]
        search.ended(row_of(SPACE, knobs, **values))
    else:
        knobs, row = A, row_of(SPACE, A, **values)
        search = bench.search(
            SPACE, constraints=limits, **({"earlier": [row]} if "earlier" in way else {"rows": [row]})
        )
    (trial,) = bench.trials
    assert (trial.state.name, trial.value, trial.params) == (state, value, knobs)
    expected = {} if missed is None else dict(zip(map(str, limits), map(pytest.approx, missed), strict=True))
    assert (trial.constraints or {}) == expected
    if state == "PRUNED":
        assert trial.intermediate_values == {values.get("epochs_done", 3): value}
    search.suggest("next")  # the sampler goes on
    assert bench.states == [state, "RUNNING"]


def test_optunas_best_trial_is_the_best_that_meets_every_constraint(bench, row_of):
    outcomes = [(0.9, 0.1, 1), (0.4, 0.92, 1), (0.5, 0.91, 1), (0.8, 0.89, 1), (0.7, 0.95, 101)]
    search = bench.search(SPACE, constraints=(FLOOR, SHORT))
    for gap, retention, seconds in outcomes:
        knobs = search.suggest("ray")["knobs"]
        search.ended(row_of(SPACE, knobs, dice_gap=gap, retention=retention, seconds=seconds))
    assert bench.study.best_trial.value == 0.5


@pytest.mark.parametrize("objective", ["retrain", "unseen"])
def test_a_distance_is_minimised_and_its_worst_value_is_one(bench, row_of, objective):
    results = [(0.3, 0.95), (0.05, 0.1), (0.1, 0.95), (math.nan, 0.95)]
    search, rows = bench.search(SPACE, objective), []
    for distance, retention in results:
        values = {"retention": retention, f"{objective}_gap": distance}
        rows.append(row_of(SPACE, search.suggest("ray")["knobs"], **values))
        search.ended(rows[-1])
    for again in (False, True):
        if again:
            bench.again(SPACE, objective, rows=rows)
        assert bench.study.direction == StudyDirection.MINIMIZE
        assert [trial.value for trial in bench.trials] == [0.3, 0.05, 0.1, 1.0]
        assert bench.study.best_trial.value == 0.1  # 0.05 keeps too little


def test_a_front_is_told_with_all_of_its_goals(bench, row_of):
    search = bench.search(SPACE, "front_seconds")
    values = {"retain_dice": 0.8, "forget_dice": 0.3, "seconds": 60.0}
    for each in (values, {**values, "retain_dice": math.nan, "forget_dice": math.nan}):
        search.ended(row_of(SPACE, search.suggest("ray")["knobs"], **each))
    assert [direction.name for direction in bench.study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert [trial.values for trial in bench.trials] == [[0.8, 0.3, 60.0], [-1.0, 1.0, 60.0]]
    assert [trial.number for trial in bench.study.best_trials] == [0]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_front_learns_from_an_earlier_study_with_pruned_trials(bench, row_of, sampler):
    knobs = [{**A, "epochs": epochs} for epochs in range(1, 21)]
    earlier = [row_of(SPACE, each, "pruned" if each["epochs"] % 3 else "finished") for each in knobs]
    assert SPACE.contains(bench.search(SPACE, "front", sampler=sampler, earlier=earlier).suggest("ray")["knobs"])
    assert Counter(bench.states) == {"PRUNED": 14, "COMPLETE": 6, "RUNNING": 1}


# What comes first.


def test_a_search_starts_with_what_is_unfinished_then_published_then_its_own(bench, unfinished, tmp_path):
    waiting = [unfinished(SPACE, B, str(tmp_path / "state.pt")), unfinished(SPACE, A)]
    search = bench.search(SPACE, unfinished=waiting, first=[A, C])
    configs = suggested(search, 5)
    assert [config["knobs"] for config in configs[:3]] == [B, A, C]
    assert [config["checkpoint"] for config in configs] == [str(tmp_path / "state.pt"), None, None, None, None]
    assert len({config["id"] for config in configs}) == 5


def test_an_unfinished_trial_that_ran_out_of_memory_goes_on_one_scan_at_a_time(bench, signature, tmp_path):
    waiting = Unfinished(signature(SPACE, A), A, str(tmp_path / "state.pt"), one_by_one=True)
    first, second = suggested(bench.search(SPACE, unfinished=[waiting]), 2)
    assert (first["one_by_one"], first["checkpoint"]) == (True, str(tmp_path / "state.pt"))
    assert (second["one_by_one"], second["checkpoint"]) == (False, None)


def test_published_configurations_that_have_been_tried_are_not_tried_again(bench, row_of):
    rows = [row_of(SPACE, A), row_of(SPACE, B, "failed")]
    search = bench.search(SPACE, rows=rows, first=[A, B, C])
    first, second = suggested(search, 2)
    assert first["knobs"] == C
    assert second["knobs"] not in (A, B, C)


def test_published_configurations_are_tried_though_an_earlier_study_has_tried_them(bench, row_of):
    """They are this study's own trials: its table lacks them."""
    search = bench.search(SPACE, earlier=[row_of(SPACE, A, seed=5)], first=[A])
    assert search.suggest("ray")["knobs"] == A


def test_conditional_trials_continue_as_themselves(bench, run, signature, unfinished, tmp_path):
    knobs = [config["knobs"] for config in suggested(bench.search(MIXED), 6)]
    waiting = [unfinished(MIXED, each, str(tmp_path / f"{number}.pt")) for number, each in enumerate(knobs)]
    configs = suggested(bench.again(MIXED, unfinished=waiting), 6)
    assert [config["knobs"] for config in configs] == knobs
    assert [config["id"] for config in configs] == [signature(MIXED, each) for each in knobs]
    assert [config["checkpoint"] for config in configs] == [str(tmp_path / f"{number}.pt") for number in range(6)]


def test_fixed_knobs_are_in_every_config_and_not_in_optuna(bench):
    config = bench.search(MIXED, seed=4).suggest("ray")
    assert config["knobs"]["resample"] is True
    assert "resample" not in bench.trials[0].params


def test_a_search_continues_from_a_table_on_disk(bench, run, tmp_path):
    rows = run(bench.search(MIXED), MIXED, 10)
    assert any("noise_rate" not in row.knobs for row in rows)
    asked = [trial.params for trial in bench.trials if "repeats" not in trial.user_attrs]
    trials_table(tmp_path, MIXED.knobs).upsert(row.flat() for row in rows)
    record = SimpleNamespace(knobs=MIXED.knobs, metrics=METRICS, evidence_columns=EVIDENCE)
    kept = [TrialRow.of(flat, record) for flat in trials_table(tmp_path, MIXED.knobs).rows]
    assert kept == rows
    search = bench.again(MIXED, rows=kept)
    assert [trial.params for trial in bench.trials] == asked
    assert set(bench.states) == {"COMPLETE"}
    assert not {row.id for row in run(search, MIXED, 5)} & {row.id for row in rows}


def test_the_same_seed_searches_the_same_trials_and_another_seed_others(bench):
    first, again, other = (
        [config["knobs"] for config in suggested(bench.again(SPACE, seed=seed), 15)] for seed in (1, 1, 2)
    )
    assert first == again
    assert not [knobs for knobs in other if knobs in first]


# Repeats and the end of a space.


@pytest.mark.parametrize("status", ["finished", "failed", "pruned"])
def test_a_repeat_is_answered_from_the_table(bench, row_of, status):
    """Of six configurations five have ended: the search asks until it has the sixth."""
    rows = [row_of(TINY, knobs, status, dice_gap=number / 8) for number, knobs in enumerate(ALL[:5])]
    search = bench.search(TINY, rows=rows, sampler="random")
    assert search.suggest("ray")["knobs"] == ALL[5]
    assert not search.exhausted
    told = {row.id: row.metric("dice_gap") for row in rows}
    repeats = [trial for trial in bench.trials if "repeats" in trial.user_attrs]
    assert repeats
    state = {"finished": "COMPLETE", "failed": "FAIL", "pruned": "PRUNED"}[status]
    for trial in repeats:
        assert "id" not in trial.user_attrs
        assert trial.state.name == state
        assert trial.value == (None if status == "failed" else told[trial.user_attrs["repeats"]])
    ids = Counter(trial.user_attrs["id"] for trial in bench.trials if "id" in trial.user_attrs)
    assert set(ids.values()) == {1}
    assert len(ids) == 6


def test_a_published_configuration_given_twice_is_run_once_and_its_repeat_answered(bench, row_of):
    search = bench.search(TINY, first=[ALL[2], ALL[2]])
    assert search.suggest("ray")["knobs"] == ALL[2]
    search.ended(row_of(TINY, ALL[2], dice_gap=0.75))
    assert search.suggest("ray")["knobs"] != ALL[2]


@pytest.mark.parametrize(("space", "everything"), [(TINY, ALL), (MIXED, ALL_MIXED)], ids=["tiny", "mixed"])
@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "nsga2"])
def test_a_small_space_is_suggested_once_over_and_then_the_search_ends(bench, run, space, everything, sampler):
    assert len(everything) == space.size
    search = bench.search(space, sampler=sampler)
    tried = [row.knobs for row in run(search, space, 100)]
    assert sorted(map(key, tried)) == sorted(map(key, everything))
    assert search.exhausted
    assert search.suggest("more") == "FINISHED"
    assert "RUNNING" not in bench.states


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
def test_a_population_that_breeds_the_same_again_does_not_end_the_search(bench, run, sampler, seed):
    """The score leads every seed's population to one corner of 60 configurations."""
    space = Space("noisy_label", {"noise_rate": FloatDistribution(0, 1, step=0.25), "epochs": IntDistribution(1, 12)})
    search = bench.search(space, sampler=sampler, seed=seed)
    rows = run(search, space, 100, lambda knobs: {"dice_gap": knobs["epochs"] + knobs["noise_rate"]}, seed)
    assert len({row.id for row in rows}) == len(rows) == space.size == 60
    assert search.exhausted


class Stuck(RandomSampler):
    """Proposes the same for ever."""

    def sample_independent(self, study, trial, name, domain):
        return domain.choices[0] if hasattr(domain, "choices") else domain.low


@pytest.mark.parametrize(("space", "count"), [(TINY, 6), (SPACE, 8)], ids=["finite", "continuous"])
def test_a_sampler_that_proposes_the_same_for_ever_goes_on_while_anything_is_left(bench, monkeypatch, space, count):
    monkeypatch.setitem(SAMPLERS, "stuck", Sampler(lambda space, seed: Stuck()))
    search = bench.search(space, sampler="stuck")
    assert len({config["id"] for config in suggested(search, count)}) == count
    assert not search.exhausted
    assert (search.suggest("more") == "FINISHED") == search.exhausted == (space is TINY)


def test_a_value_that_was_reached_by_another_sum_is_not_left(bench, row_of):
    """0.3, as a user writes it, and 0.1 + 2 * 0.1, as Optuna draws it, are one of five steps."""
    space = Space("noisy_label", {"noise_rate": FloatDistribution(0.1, 0.5, step=0.1)}, fixed={"epochs": 1})
    rows = [row_of(space, {"noise_rate": rate}) for rate in (0.1, 0.2, 0.3, 0.4)]
    search = bench.search(space, rows=rows)
    suggested(search, 2)
    assert search.exhausted


def test_no_configuration_is_suggested_twice_while_trials_are_pending(bench, row_of):
    search = bench.search(TINY)
    configs = suggested(search, 7)
    assert sorted(key(config["knobs"]) for config in configs[:6]) == sorted(map(key, ALL))
    assert configs[6] == "FINISHED"
    for config in configs[:6]:
        search.ended(row_of(TINY, config["knobs"]))
    assert "RUNNING" not in bench.states
    assert Counter(bench.states)["COMPLETE"] == 6


def test_the_last_unfinished_trial_of_a_small_space_is_still_continued(bench, row_of, unfinished):
    rows = [row_of(TINY, knobs) for knobs in ALL[:5]] + [row_of(TINY, ALL[5], "running")]
    search = bench.search(TINY, rows=rows, unfinished=[unfinished(TINY, ALL[5])])
    assert search.suggest("ray")["knobs"] == ALL[5]
    assert search.suggest("ray") == "FINISHED"


def test_a_search_that_is_closed_suggests_nothing_but_is_not_exhausted(bench, row_of):
    search = bench.search(SPACE)
    knobs = search.suggest("ray")["knobs"]
    search.close()
    assert search.suggest("ray") == "FINISHED"
    assert not search.exhausted
    search.ended(row_of(SPACE, knobs))  # what is under way ends all the same
    assert bench.states == ["COMPLETE"]


@pytest.mark.parametrize("done", [0, 5, 9])
def test_a_grid_continues_halfway_and_visits_each_configuration_once(bench, run, row_of, unfinished, done):
    rows = run(bench.search(MIXED, sampler="grid"), MIXED, done)
    left = next(knobs for knobs in ALL_MIXED if knobs["forget"] == "ascent")
    left = {name: value for name, value in left.items() if name != "resample"}
    waiting = [] if any(row.id == row_of(MIXED, left).id for row in rows) else [unfinished(MIXED, left)]
    table = rows + [row_of(MIXED, left, "running")] * len(waiting)
    search = bench.again(MIXED, sampler="grid", rows=table, unfinished=waiting, seed=0)
    found = rows + run(search, MIXED, 100)
    assert sorted(key(row.knobs) for row in found) == sorted(map(key, ALL_MIXED))
    assert search.exhausted


# A database of one's own.


@pytest.fixture(scope="session")
def _empty_database(tmp_path_factory):
    """SQLite takes half a second to make Optuna's tables."""
    path = tmp_path_factory.mktemp("optuna") / "empty.db"
    optuna.create_study(storage=f"sqlite:///{path}", study_name="other")
    return path


@pytest.fixture
def database(bench, _empty_database, tmp_path):
    (tmp_path / "optuna.db").write_bytes(_empty_database.read_bytes())
    bench.storage = f"sqlite:///{tmp_path}/optuna.db"
    return bench


@pytest.mark.slow
def test_a_database_that_is_opened_again_keeps_what_it_has_and_gets_nothing_twice(database, row_of):
    search, rows = database.search(TINY, first=[ALL[1]]), []
    for status in ("finished", "failed", "pruned"):
        rows.append(row_of(TINY, search.suggest("ray")["knobs"], status))
        search.ended(rows[-1])
    ids = [row.id for row in rows]
    told = [(trial.params, trial.value, trial.user_attrs) for trial in database.trials]
    missing = row_of(TINY, next(knobs for knobs in ALL if row_of(TINY, knobs).id not in ids))
    for _ in range(2):
        database.search(TINY, rows=[*rows, missing], first=[ALL[1]])
        assert [(trial.params, trial.value, trial.user_attrs) for trial in database.trials[: len(told)]] == told
        found = [trial.user_attrs["id"] for trial in database.trials if "id" in trial.user_attrs]
        assert found == [*ids, missing.id]
    assert {"RUNNING", "WAITING"}.isdisjoint(database.states)


def test_what_an_earlier_session_left_running_is_told_as_failed_and_continued(database, unfinished, row_of, tmp_path):
    begun, _ = (config["knobs"] for config in suggested(database.search(SPACE), 2))
    waiting = unfinished(SPACE, begun, str(tmp_path / "state.pt"))
    search = database.search(SPACE, rows=[row_of(SPACE, begun, "running")], unfinished=[waiting])
    assert database.states[:2] == ["FAIL", "FAIL"]
    config = search.suggest("ray")
    assert (config["knobs"], config["checkpoint"]) == (begun, str(tmp_path / "state.pt"))
    search.ended(row_of(SPACE, begun, dice_gap=0.75))
    assert database.study.best_trial.params == begun


def test_a_trial_that_ended_while_nobody_told_the_database_is_told_later(database, row_of):
    """Its row was written, and the process killed before Optuna heard."""
    knobs = database.search(SPACE).suggest("ray")["knobs"]
    row = row_of(SPACE, knobs, dice_gap=0.75)
    for _ in range(2):
        database.search(SPACE, rows=[row])
    assert [trial.value for trial in database.trials if trial.state == TrialState.COMPLETE] == [0.75]
    assert database.study.best_trial.params == knobs


def test_what_an_interrupted_session_had_queued_stays_behind_what_is_unfinished(
    database, row_of, unfinished, tmp_path
):
    search = database.search(SPACE, first=[A, B, C])
    assert search.suggest("ray")["knobs"] == A
    waiting = unfinished(SPACE, A, str(tmp_path / "state.pt"))
    search = database.search(SPACE, rows=[row_of(SPACE, A, "running")], unfinished=[waiting], first=[A, B, C])
    configs = suggested(search, 4)
    assert [config["knobs"] for config in configs[:3]] == [A, B, C]
    assert [config["checkpoint"] for config in configs] == [str(tmp_path / "state.pt"), None, None, None]
    assert configs[3]["knobs"] not in (A, B, C)


def test_what_is_queued_takes_no_result_of_another_trial(database, row_of):
    database.search(SPACE, first=[A, B])
    row = row_of(SPACE, C, dice_gap=0.75)
    database.search(SPACE, rows=[row], first=[A, B])
    assert [(trial.params, trial.value) for trial in database.trials if trial.state == TrialState.COMPLETE] == [
        (C, 0.75)
    ]


def test_a_published_configuration_that_was_suggested_and_never_begun_is_tried_later(database):
    """Tune asks for trials before there is room for them."""
    suggested(database.search(SPACE, first=[A, B]), 2)
    configs = suggested(database.search(SPACE, first=[A, B]), 2)
    assert [config["knobs"] for config in configs] == [A, B]


def test_a_grid_in_a_database_misses_nothing_that_was_suggested_and_never_begun(database, run):
    search = database.search(TINY, sampler="grid")
    rows = run(search, TINY, 2)
    suggested(search, 2)
    search = database.search(TINY, sampler="grid", rows=rows)
    found = [*rows, *run(search, TINY, 10)]
    assert sorted((row.knobs["noise_rate"], row.knobs["epochs"]) for row in found) == [
        tuple(knobs.values()) for knobs in ALL
    ]


def test_a_database_with_trials_that_the_records_lack_is_refused(database, run, row_of):
    rows = run(database.search(TINY), TINY, 3)
    with pytest.raises(StudyError, match=r"study 'study' has 2 trials that this study's records lack; .*--name"):
        database.search(TINY, rows=rows[:1])
    assert len([state for state in database.states if state == "COMPLETE"]) >= 3
    assert "WAITING" not in database.states
    database.search(TINY, rows=rows[1:], earlier=rows[:1])  # known from elsewhere
    database.search(TINY, name="mine")  # and another name is another study


@pytest.mark.slow
def test_a_database_with_another_objective_under_the_name_is_refused(database):
    database.search(TINY, "gap")
    for objective in ("retrain", "front"):
        with pytest.raises(StudyError, match=r"study 'study' has another objective; choose another --name"):
            database.search(TINY, objective)


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/optuna.db", "nonsense", "oracle9://x/y"])
def test_a_database_that_cannot_be_opened_is_named_in_one_line(bench, url):
    with pytest.raises(StudyError) as caught:
        bench.search(TINY, storage=url)
    assert str(caught.value).startswith("--optuna-storage: ")
    assert "\n" not in str(caught.value)
