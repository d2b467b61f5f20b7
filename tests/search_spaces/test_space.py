import inspect
import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Literal, get_origin, get_type_hints

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import search_spaces
from search_spaces.space import SPACES, Entry, Published, Space, Suite, knobs_of
from study.search.searcher import choose
from trainables import strategies
from trainables.mechanics.strategy import build
from trainables.recipe import Recipe

ROOT = Path(search_spaces.__file__).parents[1]
EPOCHS = IntDistribution(5, 20)


def modules(package):
    own = ("__init__", "domains", "narrowing", "space")
    return sorted(path.stem for path in (ROOT / package).glob("*.py") if path.stem not in own)


SUITES = [name for name in SPACES.names() if isinstance(SPACES.load(name), Suite)]


ALONE = [name for name in SPACES.names() if name not in SUITES]


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if place % 3 else []) for place, name in enumerate(ALONE)]
)
def space(request):
    return SPACES.load(request.param)


@pytest.fixture(params=SUITES)
def suite(request):
    return SPACES.load(request.param)


@pytest.fixture
def preset(space):
    return getattr(import_module(f"trainables.strategies.{space.strategy}"), space.strategy)


@pytest.fixture
def sampled(space):
    """Forty draws of a study from the space, with what is fixed."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [{**space.fixed, **choose(space, study.ask())} for _ in range(40)]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder whose files are the presets and the spaces that there are."""
    for owner in (strategies, search_spaces):
        monkeypatch.setattr(owner, "__path__", [str(tmp_path)])
    return tmp_path


def make(domains=None, **more):
    return Space("noisy_label", {"epochs": EPOCHS, **(domains or {}), **more})


def test_every_file_is_offered():
    assert SPACES.names() == modules("search_spaces")


def test_every_file_is_a_space_of_an_existing_strategy(space):
    assert space.strategy in modules("trainables/strategies")
    if space.published:
        assert 0 <= space.published.forget_dice < space.published.retain_dice <= 1
        assert space.published.source


def test_knobs_are_the_presets_or_the_recipes_with_their_types(space, preset, sampled):
    hints = get_type_hints(preset) | get_type_hints(Recipe)
    types = {name: str if get_origin(hint) is Literal else hint for name, hint in hints.items()}
    if space.strategy == "retain_label":
        types["resample"] = bool  # as in the tables of earlier studies
    assert set(space.knobs) <= set(types) - {"return"}
    assert space.knobs == {name: types[name] for name in (*space.fixed, *space.domains)}
    found = {(name, type(value)) for knobs in sampled for name, value in knobs.items()}
    assert found == set(space.knobs.items())


def test_the_preset_and_the_recipe_take_what_is_sampled(space, sampled):
    for knobs in sampled:
        strategy, recipe = build(space.strategy, knobs)
        assert strategy.retain is not None or strategy.prepare is not None
        assert recipe.epochs == knobs["epochs"] >= 1
        assert recipe.lr == knobs.get("lr", Recipe().lr)


def words_of(space, configurations):
    """What is fixed or a word of each configuration."""
    kept = {name for name, domain in space.domains.items() if isinstance(domain, CategoricalDistribution)}
    return [tuple((name, knobs[name]) for name in knobs if name in {*space.fixed, *kept}) for knobs in configurations]


def test_every_corner_can_be_built_and_has_words_that_are_drawn(space):
    for corner in space.corners:
        build(space.strategy, corner)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    draws = [{**space.fixed, **choose(space, study.ask())} for _ in range(600)]
    words = words_of(space, space.corners)
    assert set(words) == set(words_of(space, draws))
    assert len(words) == 2 * len(set(words))


def test_every_recipe_of_a_suite_can_be_built_and_has_types_of_its_own_knobs(suite):
    assert len({repr((entry.strategy, entry.knobs)) for entry in suite.entries}) == len(suite.entries)
    for entry in suite.entries:
        _, recipe = build(entry.strategy, suite.knobs_of(entry))
        assert recipe.epochs == max(suite.horizons)
        assert {name: type(value) for name, value in suite.knobs_of(entry).items()}.items() <= suite.knobs.items()
        for horizon, published in entry.published.items():
            assert horizon in suite.horizons
            assert 0 <= published.forget_dice < published.retain_dice <= 1


def test_every_strategy_has_a_space():
    searched = {SPACES.load(name).strategy for name in SPACES.names() if name not in SUITES}
    assert searched == set(modules("trainables/strategies"))


@pytest.mark.parametrize("strategy", modules("trainables/strategies"))
def test_the_knobs_of_a_strategy_are_its_real_signature(strategy):
    preset = getattr(import_module(f"trainables.strategies.{strategy}"), strategy)
    own, shared = list(inspect.signature(preset).parameters), [field.name for field in fields(Recipe)]
    assert list(knobs_of(strategy)) == own + shared
    assert not set(own) & set(shared)


def test_a_preset_is_read_and_not_imported(package):
    (package / "mine.py").write_text("import not_installed\n\ndef mine(a=1.0, *, b: bool = False): ...\n")
    assert knobs_of("mine")[:2] == ("a", "b")
    assert set(Space("mine", {"b": CategoricalDistribution((True, False)), "epochs": EPOCHS}).knobs) == {
        "b",
        "epochs",
    }


def test_a_new_file_is_a_space(package):
    (package / "dropped_in.py").write_text(
        "from optuna.distributions import IntDistribution\nfrom search_spaces.space import Space\n"
        "def dropped_in(rate: float): ...\nSPACE = Space('dropped_in', {'epochs': IntDistribution(1, 2)})\n"
    )
    assert SPACES.names() == ["dropped_in"]
    assert SPACES.load("dropped_in").domains["epochs"].high == 2
    del sys.modules["search_spaces.dropped_in"]


@pytest.mark.parametrize("knob", ["noises", "Noise_rate", "strategy", ""])
def test_an_unknown_knob_is_refused_with_those_there_are(knob):
    with pytest.raises(ValueError, match="noisy_label") as caught:
        make({knob: FloatDistribution(0, 1), "noise_rate": FloatDistribution(0, 1)})
    message = str(caught.value)
    assert f"no knobs [{knob!r}]" in message
    assert all(f"'{name}'" in message for name in ("noise_rate", "forget_weight", "resample", "lr", "epochs"))


@pytest.mark.parametrize("strategy", ["noisy_labels", "", "__init__", "../recipe"])
def test_an_unknown_strategy_is_refused_with_those_there_are(strategy):
    with pytest.raises(ValueError, match=f"no strategy '{strategy}'") as caught:
        Space(strategy, {"epochs": EPOCHS})
    assert all(name in str(caught.value) for name in modules("trainables/strategies"))


@pytest.mark.parametrize("domain", [None, FloatDistribution(5, 20), CategoricalDistribution(("5", "20"))], ids=str)
def test_epochs_must_be_searched_as_whole_numbers(domain):
    domains = {"lr": FloatDistribution(1e-4, 1e-2)} | ({} if domain is None else {"epochs": domain})
    with pytest.raises(ValueError, match="must search `epochs` in whole numbers, or fix it"):
        Space("noisy_label", domains)
    assert Space("noisy_label", {**domains, "epochs": CategoricalDistribution((5, 20))}).epochs == (5, 20)


@pytest.mark.parametrize(
    "name", ["noisy", "space", "narrowing", "domains", "__init__", "", "../study/run", "space.Space"]
)
def test_an_unknown_space_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match="no search space") as caught:
        SPACES.load(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in modules("search_spaces"))


def test_knobs_have_the_python_types_of_sampled_values():
    domains = {
        "lr": FloatDistribution(0, 1),
        "forget_weight": FloatDistribution(1, 2, step=1),
        "resample": CategoricalDistribution((False, True)),
        "retain_batch": CategoricalDistribution((1, 2)),
        "noise_rate": CategoricalDistribution((0.5, 1.0)),
    }
    trial = optuna.create_study().ask(fixed_distributions={**domains, "epochs": EPOCHS})
    assert make(domains).knobs == {name: type(value) for name, value in trial.params.items()}


@pytest.mark.parametrize(
    ("domain", "epochs", "shorter"),
    [
        (IntDistribution(5, 20), 12, IntDistribution(5, 12)),
        (IntDistribution(5, 20), 20, IntDistribution(5, 20)),
        (IntDistribution(5, 20), 5, IntDistribution(5, 5)),
        (IntDistribution(5, 20), 1, IntDistribution(1, 1)),
        (IntDistribution(5, 20), 50, IntDistribution(5, 50)),
        (IntDistribution(5, 20, log=True), 12, IntDistribution(5, 12, log=True)),
        (IntDistribution(10, 50, step=10), 30, IntDistribution(10, 30, step=10)),
        (IntDistribution(10, 50, step=10), 49, IntDistribution(10, 40, step=10)),
        (IntDistribution(10, 50, step=10), 3, IntDistribution(3, 3, step=10)),
        (CategoricalDistribution((40, 5, 20)), 20, CategoricalDistribution((5, 20))),
        (CategoricalDistribution((40, 5, 20)), 100, CategoricalDistribution((40, 5, 20))),
        (CategoricalDistribution((40, 20)), 12, CategoricalDistribution((12,))),
    ],
    ids=str,
)
def test_up_to_sets_the_longest_trial_and_nothing_else(domain, epochs, shorter):
    published = Published(0.7, 0.1, "a paper")
    space = Space("noisy_label", {"lr": FloatDistribution(1e-4, 1e-2), "epochs": domain}, published=published)
    cut = space.up_to(epochs)
    assert cut == replace(space, domains={"lr": FloatDistribution(1e-4, 1e-2), "epochs": shorter}, first=[])
    assert space.domains["epochs"] == domain


FORGET = CategoricalDistribution(["ascent", "noisy_labels"])
RETAIN = CategoricalDistribution(["segment", "features"])
MOVES = CategoricalDistribution(["all", "encoder", "decoder"])
RATE, CEILING = FloatDistribution(0.5, 1.0), FloatDistribution(1.0, 20.0)


@pytest.fixture
def conditional():
    """Moves where the retain term is on labels; a rate or a ceiling by what is forgotten."""
    return Space(
        "mechanics",
        {
            "forget": FORGET,
            "retain": RETAIN,
            "moves": MOVES,
            "noise_rate": RATE,
            "ceiling": CEILING,
            "epochs": EPOCHS,
        },
        conditions={
            "moves": {"retain": ["segment"]},
            "noise_rate": {"forget": ["noisy_labels"], "moves": ["all", "encoder"]},
            "ceiling": {"forget": ["ascent"]},
        },
    )


@pytest.mark.parametrize(
    ("before", "active"),
    [
        ({}, set()),
        ({"forget": "ascent"}, {"ceiling"}),
        ({"forget": "noisy_labels", "retain": "features"}, set()),  # moves is not searched, so the rate is not
        ({"forget": "noisy_labels", "retain": "segment"}, ("moves",)),
        ({"forget": "noisy_labels", "retain": "segment", "moves": "decoder"}, ("moves",)),
        ({"forget": "noisy_labels", "retain": "segment", "moves": "all"}, ("moves", "noise_rate")),
    ],
    ids=str,
)
def test_a_knob_is_active_where_all_of_its_conditions_hold(conditional, before, active):
    assert {name for name in conditional.conditions if conditional.active(name, before)} == set(active)
    assert all(conditional.active(name, before) for name in ("forget", "retain", "epochs"))


def test_corners_are_the_ends_of_the_numbers_and_the_words_that_are_active_together(conditional):
    features = {"forget": "ascent", "retain": "features"}
    labels = {"forget": "noisy_labels", "retain": "segment"}
    corners = list(conditional.corners)
    assert len(corners) == 2 * 8
    assert [knobs for knobs in corners if knobs.items() >= features.items()] == [
        {**features, "ceiling": 1.0, "epochs": 5},
        {**features, "ceiling": 20.0, "epochs": 20},
    ]
    assert {**labels, "moves": "all", "noise_rate": 1.0, "epochs": 20} in corners
    assert {**labels, "moves": "decoder", "epochs": 5} in corners


@pytest.mark.parametrize(
    ("order", "late"), [(["moves", "retain"], "retain"), (["moves"], "retain"), (["retain", "moves"], None)]
)
def test_a_condition_needs_a_knob_that_comes_first(order, late):
    domains = {name: {"moves": MOVES, "retain": RETAIN}[name] for name in order} | {"epochs": EPOCHS}
    conditions = {"moves": {"retain": ["segment"]}}
    if late is None:
        assert Space("mechanics", domains, conditions)
        return
    with pytest.raises(ValueError, match=f"the condition on 'moves' .* needs \\['{late}'\\] before it"):
        Space("mechanics", domains, conditions)


def test_a_condition_on_a_knob_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="conditions on knobs that it does not search"):
        Space("mechanics", {"forget": FORGET, "epochs": EPOCHS}, {"ceiling": {"forget": ["ascent"]}})


@pytest.mark.parametrize(("fixed", "most", "epochs"), [(10, 3, 3), (10, 10, 10), (10, 50, 10), (1, 5, 1)])
def test_up_to_shortens_fixed_epochs_and_never_lengthens_them(fixed, most, epochs):
    space = Space("ssd", {"dampening": FloatDistribution(0.1, 5.0)}, fixed={"epochs": fixed})
    cut = space.up_to(most)
    assert cut.fixed == {"epochs": epochs}
    assert cut == replace(space, fixed={"epochs": epochs}, first=[])


def test_the_published_configurations_of_every_space_are_tried_as_they_are(space):
    """Each lies in the domains, and the preset and the recipe take it."""
    assert space.first
    assert space.starts == [{**knobs, **space.fixed} for knobs in space.first]
    for knobs, start in zip(space.first, space.starts, strict=True):
        active = {name for name in space.domains if space.active(name, start)}
        assert set(knobs) == active
        _, recipe = build(space.strategy, start)
        assert recipe.epochs == start["epochs"]


def test_the_published_configurations_follow_the_epochs_and_are_dropped_where_they_do_not_fit():
    first = [{"lr": 1e-3, "epochs": 20}, {"lr": 3e-3, "epochs": 5}, {"lr": 1e-5, "epochs": 5}]
    space = Space("noisy_label", {"lr": FloatDistribution(1e-4, 1e-2), "epochs": EPOCHS}, first=first)
    assert space.starts == first[:2]
    assert space.up_to(8).starts == [{"lr": 1e-3, "epochs": 8}, first[1]]
    assert space.up_to(3).starts == [{"lr": 1e-3, "epochs": 3}, {"lr": 3e-3, "epochs": 3}]
    held = replace(space, domains={"epochs": EPOCHS}, fixed={"lr": 0.5})
    assert held.starts == [{"lr": 0.5, "epochs": 20}, *[{"lr": 0.5, "epochs": 5}] * 2]


@pytest.mark.parametrize(
    ("knobs", "inside"),
    [
        ({"forget": "ascent", "retain": "features", "ceiling": 20.0, "epochs": 5}, True),
        ({"forget": "ascent", "retain": "features", "ceiling": 20.1, "epochs": 5}, False),
        ({"forget": "ascent", "retain": "features", "epochs": 5}, False),  # the ceiling is searched here
        ({"forget": "ascent", "retain": "features", "ceiling": None, "epochs": 5}, False),
        ({"forget": "ascent", "retain": "features", "ceiling": 9.0, "epochs": 21}, False),
        ({"forget": "ascent", "retain": "features", "ceiling": 9.0, "epochs": 5, "moves": None}, True),
        ({"forget": "ascent", "retain": "features", "ceiling": 9.0, "epochs": 5, "dice_gap": 0.5}, True),
        ({"forget": "noisy_labels", "retain": "segment", "moves": "decoder", "epochs": 5}, True),
        ({"forget": "noisy_labels", "retain": "segment", "moves": "all", "epochs": 5}, False),
        ({"forget": "noisy_labels", "retain": "segment", "moves": "all", "noise_rate": 0.5, "epochs": 5}, True),
        ({"forget": "retain_labels", "retain": "features", "epochs": 5}, False),  # a word that is not searched
        ({"forget": 3, "retain": "features", "epochs": 5}, False),
        ({"retain": "features", "epochs": 5}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_configuration_is_contained_if_each_active_knob_lies_in_its_domain(conditional, knobs, inside):
    assert conditional.contains(knobs) == inside


@pytest.mark.parametrize(("knobs", "inside"), [({"lr": 0.5}, True), ({"lr": 0.4}, False), ({}, True)], ids=str)
def test_a_configuration_agrees_with_what_is_fixed(knobs, inside):
    assert replace(make(), fixed={"lr": 0.5}).contains({"epochs": 5, **knobs}) == inside


@pytest.mark.parametrize(
    ("domains", "size"),
    [
        ({"epochs": IntDistribution(5, 20)}, 16),
        ({"epochs": IntDistribution(5, 20, step=5)}, 4),
        ({"epochs": IntDistribution(1, 2), "lr": FloatDistribution(0.0, 0.3, step=0.1)}, 8),
        ({"epochs": IntDistribution(1, 2), "lr": CategoricalDistribution((0.1, 0.2, 0.3))}, 6),
        ({"epochs": IntDistribution(1, 2), "lr": FloatDistribution(0.1, 0.2)}, None),
        ({"epochs": IntDistribution(1, 100_001)}, None),
    ],
    ids=str,
)
def test_the_size_is_the_number_of_configurations_where_they_can_be_counted(domains, size):
    assert Space("noisy_label", domains).size == size


def test_the_size_of_a_conditional_space_is_the_number_of_different_draws(conditional):
    steps = {"noise_rate": FloatDistribution(0.5, 1.0, step=0.25), "ceiling": CategoricalDistribution((5.0, 9.0))}
    space = replace(conditional, domains={**conditional.domains, **steps, "epochs": IntDistribution(1, 2)})
    # ascent: 2 ceilings x (1 without moves + 3 moves); labels: 1 + 2 moves x 3 rates + the decoder; 2 lengths
    assert space.size == 2 * (2 * (1 + 3) + (1 + 2 * 3 + 1)) == 32
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    assert len({tuple(choose(space, study.ask()).items()) for _ in range(1000)}) == 32
    assert conditional.size is None


def test_the_size_counts_what_hangs_on_a_number_with_steps():
    domains = {"noise_rate": FloatDistribution(0.5, 1.0, step=0.25), "ceiling": CategoricalDistribution((5.0, 9.0))}
    conditions = {"ceiling": {"noise_rate": [0.75]}}
    assert Space("mechanics", {**domains, "epochs": IntDistribution(3, 3)}, conditions).size == 4


@pytest.mark.parametrize(
    ("domain", "epochs"),
    [(EPOCHS, [*range(5, 21)]), (CategoricalDistribution((40, 5)), [40, 5]), (IntDistribution(2, 9, step=7), [2, 9])],
)
def test_the_lengths_of_trials_are_known(domain, epochs):
    assert [*Space("noisy_label", {"epochs": domain}).epochs] == epochs
    assert Space("ssd", {"dampening": FloatDistribution(0.1, 5.0)}, fixed={"epochs": 9}).epochs == [9]


def test_a_suite_names_what_its_entries_cannot_be():
    with pytest.raises(ValueError, match="no strategy 'noise'"):
        Suite((Entry("noise", {}),))
    with pytest.raises(ValueError, match=r"no knobs \['ceiling'\]"):
        Suite((Entry("max_loss", {"ceiling": 3.0}), Entry("noisy_label", {"ceiling": 3.0})))


def test_the_knobs_of_a_suite_are_those_of_all_its_entries():
    suite = Suite((Entry("max_loss", {"ceiling": 3.0}), Entry("noisy_label", {"resample": True})), (2, 9, 4))
    assert suite.knobs == {"ceiling": float, "resample": bool, "epochs": int}
    assert [suite.knobs_of(entry) for entry in suite.entries] == [
        {"ceiling": 3.0, "epochs": 9},
        {"resample": True, "epochs": 9},
    ]
