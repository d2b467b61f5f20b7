from typing import get_args

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.narrowing import narrow
from search_spaces.space import SPACES, Space
from study.records.constraints import parse
from study.records.settings import SamplerName
from study.search.samplers import SAMPLERS, problems

FLOOR = parse("retention>=0.9")
STEPS = {"noise_rate": FloatDistribution(0.6, 1.0, step=0.1), "epochs": IntDistribution(5, 20)}
NUMBERS = Space("noisy_label", {**STEPS, "lr": CategoricalDistribution([1e-4, 1e-3, 1e-2])})
REALS = Space("noisy_label", {"noise_rate": FloatDistribution(0.6, 1.0), "epochs": IntDistribution(5, 20, log=True)})
WORDS = Space(
    "mechanics",
    {
        "forget": CategoricalDistribution(["noisy_labels", "ascent"]),
        "noise_rate": STEPS["noise_rate"],
        "ceiling": FloatDistribution(1.0, 5.0, step=0.5),
        "epochs": STEPS["epochs"],
    },
    conditions={"noise_rate": {"forget": ["noisy_labels"]}, "ceiling": {"forget": ["ascent"]}},
)
CASES = [
    *((name, WORDS) for name in ("tpe", "nsga2", "nsga3", "random", "grid")),
    ("gp", NUMBERS),
    *((name, REALS) for name in ("tpe", "nsga2", "nsga3", "gp", "random", "qmc")),
]
MARKED = [
    pytest.param(
        *(name, space),
        id=f"{name}-{ {id(NUMBERS): 'numbers', id(REALS): 'reals', id(WORDS): 'words'}[id(space)] }",
        marks=[pytest.mark.slow] if name == "gp" else [],
    )
    for name, space in CASES
]


def outcome(knobs):
    """Forgets more and keeps less with more noise; one kind of trial fails, one is pruned."""
    rate = knobs.get("noise_rate", 0.8)
    status = {0: "failed", 1: "pruned"}.get(knobs["epochs"] % 8, "finished")
    values = {"dice_gap": rate, "retention": 1.8 - rate, "retain_dice": 1.8 - rate, "forget_dice": 1 - rate}
    return {"status": status, **values}


def test_every_word_of_the_command_line_is_a_sampler_and_every_sampler_is_tried_here():
    assert set(SAMPLERS) == set(get_args(SamplerName)) == {name for name, _ in CASES}


@pytest.mark.parametrize("objective", ["gap", pytest.param("front", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("sampler", "space"), MARKED)
def test_a_sampler_proposes_legal_trials_that_its_seed_and_the_records_decide(bench, run, sampler, space, objective):
    """Twice a first session and a second one that continues from its rows; pruned trials are of one goal only."""
    assert problems(sampler, space) == []
    count = 13 if sampler == "gp" else 30  # it takes its time from the eleventh trial on
    marks = {} if objective == "gap" else {"status": "finished"}
    sessions = []
    for _ in range(2):
        rows = run(bench.again(space, objective, sampler=sampler), space, count, lambda k: {**outcome(k), **marks})
        search = bench.again(space, objective, sampler=sampler, rows=rows)
        rows += run(search, space, 2, lambda k: {**outcome(k), **marks})
        sessions.append([row.id for row in rows])
        assert all(space.contains(row.knobs) for row in rows)
        assert len({row.id for row in rows}) == count + 2
        assert "RUNNING" not in bench.states
    assert sessions[0] == sessions[1]
    other = run(
        bench.again(space, objective, sampler=sampler, seed=1), space, 3, lambda k: {**outcome(k), **marks}, 1
    )
    assert [row.knobs["epochs"] for row in other] != [row.knobs["epochs"] for row in rows[:3]]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3", "gp"])
def test_a_sampler_suggests_while_trials_are_pending(bench, row_of, sampler):
    search = bench.search(REALS, sampler=sampler)
    for number in range(12):
        configs = [search.suggest(f"ray-{number}-{place}") for place in range(1 if number else 3)]
        search.ended(row_of(REALS, configs[0]["knobs"], **outcome(configs[0]["knobs"])))
    assert bench.states.count("RUNNING") == 2
    assert bench.states.count("COMPLETE") >= 6


TOY = Space(
    "noisy_label",
    {name: FloatDistribution(0.0, 1.0) for name in ("noise_rate", "forget_weight", "lr", "clip")},
    fixed={"epochs": 1},
)


def toy(knobs):
    """The gap is largest at noise rate = weight = 1; what is feasible ends at their quarter circle of radius 0.7."""
    rate, weight, lr, clip = (knobs[name] for name in TOY.domains)
    return {
        "dice_gap": (rate + weight) / 2 - 0.3 * (lr - 0.5) ** 2,
        "retention": 1.39 - rate**2 - weight**2 - 0.3 * (clip - 0.5) ** 2,
    }


def best_of(rows):
    return max(row.metrics["dice_gap"] for row in rows if row.metrics["retention"] >= 0.9)


@pytest.mark.parametrize(("sampler", "margin"), [pytest.param("tpe", 0.03, marks=pytest.mark.slow), ("nsga2", 0.0)])
def test_a_constraint_steers_the_search_to_what_is_feasible(bench, run, sampler, margin):
    """The largest feasible gap is 0.495 = 0.7 / sqrt(2)."""
    best, feasible = {}, {}
    for limits in ((FLOOR,), ()):
        found = [
            run(bench.again(TOY, constraints=limits, seed=seed, sampler=sampler), TOY, 50, toy, seed=seed)
            for seed in range(5)
        ]
        best[limits] = sum(map(best_of, found)) / 5
        feasible[limits] = sum(row.metrics["retention"] >= 0.9 for rows in found for row in rows)
    assert best[(FLOOR,)] > best[()] + margin
    assert feasible[(FLOOR,)] > 1.5 * feasible[()]
    assert 0.43 < best[(FLOOR,)] <= 0.495 + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
def test_a_sampler_of_generations_breeds_on_from_what_earlier_sessions_found(bench, run, sampler):
    """Told of forty trials, it takes their best for parents, as if it had suggested them itself."""
    better = 0
    for seed in range(5):
        rows = run(bench.again(TOY, sampler="random", seed=seed, constraints=()), TOY, 40, toy, seed=seed)
        median = sorted(row.metrics["dice_gap"] for row in rows)[20]
        search = bench.again(TOY, sampler=sampler, seed=seed, constraints=(), rows=rows)
        better += sum(row.metrics["dice_gap"] > median for row in run(search, TOY, 15, toy, seed=seed))
    assert better > 52  # of 75, where half of random draws are: 37.5 with a deviation of 4.3


@pytest.mark.parametrize(
    ("sampler", "count"),
    [("tpe", 20), ("nsga2", 45), ("nsga3", 45), pytest.param("gp", 14, marks=pytest.mark.slow), ("random", 20)],
)
def test_a_sampler_that_is_said_to_look_at_constraints_does_and_the_others_do_not(bench, run, sampler, count):
    blind, looking = (
        [row.id for row in run(bench.again(TOY, constraints=limits, sampler=sampler), TOY, count, toy)]
        for limits in ((), (FLOOR,))
    )
    assert (blind != looking) == SAMPLERS[sampler].constrained


@pytest.mark.slow
def test_a_small_distance_is_found(bench, run):
    rates = [
        row.knobs["noise_rate"]
        for seed in range(3)
        for row in run(
            bench.again(REALS, "retrain", seed=seed),
            REALS,
            50,
            lambda knobs: {"retrain_gap": abs(knobs["noise_rate"] - 0.71)},
            seed=seed,
        )[25:]
    ]
    assert min(abs(rate - 0.71) for rate in rates) < 0.005
    assert sum(abs(rate - 0.71) < 0.04 for rate in rates) > 25  # a fifth of 75 random draws are: 15


@pytest.mark.parametrize(
    ("sampler", "space", "words"),
    [
        (
            "qmc",
            WORDS,
            ["qmc searches numbers only: hold forget with --set", "qmc searches knobs that every trial has"],
        ),
        ("gp", WORDS, ["gp searches knobs that every trial has: hold with --set what noise_rate, ceiling depend on"]),
        ("qmc", SPACES.load("finetune"), ["hold optimizer with --set, or choose another sampler"]),
        (
            "grid",
            REALS,
            ["grid needs a list or a step for noise_rate: --set noise_rate=A|B|C or --set noise_rate=LOW"],
        ),
        (
            "grid",
            SPACES.load("max_loss"),
            ["grid needs a list or a step for ceiling, lr, forget_weight: --set ceiling=A|B|C"],
        ),
    ],
    ids=str,
)
def test_what_a_sampler_cannot_search_is_told_with_the_remedy(sampler, space, words):
    found = problems(sampler, space)
    assert len(found) == len(words)
    assert all(word in problem for word, problem in zip(words, found, strict=True))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "nsga3", "random"])
def test_the_other_samplers_search_every_space(sampler):
    assert problems(sampler, SPACES.load("mechanics")) == problems(sampler, SPACES.load("finetune")) == []


@pytest.mark.parametrize(
    ("sampler", "settings"),
    [
        ("gp", ["forget=ascent", "retain=segment"]),
        ("qmc", ["forget=ascent", "retain=segment", "moves=all"]),
        ("grid", ["forget=random_features", "retain=features", "lr=1e-4|1e-3", "forget_weight=0.1|1"]),
        ("grid", ["forget=ascent", "lr=1e-4..1e-3/1e-4", "forget_weight=0.1|1", "ceiling=1|5"]),
    ],
)
def test_the_remedy_helps(bench, run, sampler, settings):
    """Holding what knobs depend on, as the problem says, is enough."""
    space = narrow(SPACES.load("mechanics"), settings)
    assert problems(sampler, space) == []
    assert len(run(bench.search(space, sampler=sampler), space, 2)) == 2
