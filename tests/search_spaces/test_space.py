import inspect
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import search_spaces
from search_spaces.space import Published, Space, knobs_of, load, names
from trainables import strategies
from trainables.recipe import Recipe

ROOT = Path(search_spaces.__file__).parents[1]
EPOCHS = IntDistribution(5, 20)


def modules(package):
    return sorted(path.stem for path in (ROOT / package).glob("*.py") if path.stem not in ("__init__", "space"))


@pytest.fixture(params=modules("search_spaces"))
def space(request):
    return load(request.param)


@pytest.fixture
def preset(space):
    return getattr(import_module(f"trainables.strategies.{space.strategy}"), space.strategy)


@pytest.fixture
def sampled(space):
    """Twenty draws of Optuna from the space."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [study.ask(fixed_distributions=dict(space.domains)).params for _ in range(20)]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder whose files are the presets and the spaces that there are."""
    for owner in (strategies, search_spaces):
        monkeypatch.setattr(owner, "__path__", [str(tmp_path)])
    return tmp_path


def make(domains=None, **more):
    return Space("noisy_label", {"epochs": EPOCHS, **(domains or {}), **more})


def test_every_file_is_offered():
    assert names() == modules("search_spaces")


def test_every_file_is_a_space_of_an_existing_strategy(space):
    assert space.strategy in modules("trainables/strategies")
    if space.published:
        assert 0 <= space.published.forget_dice < space.published.retain_dice <= 1
        assert space.published.source


def test_knobs_are_the_presets_or_the_recipes_with_their_types(space, preset, sampled):
    types = get_type_hints(preset) | get_type_hints(Recipe)
    assert set(space.knobs) <= set(types) - {"return"}
    assert space.knobs == {name: types[name] for name in space.domains}
    assert all({name: type(value) for name, value in knobs.items()} == space.knobs for knobs in sampled)


def test_the_preset_and_the_recipe_take_what_is_sampled(space, preset, sampled):
    taken = set(inspect.signature(preset).parameters)
    for knobs in sampled:
        preset(**{name: value for name, value in knobs.items() if name in taken})
        assert Recipe(**{name: value for name, value in knobs.items() if name not in taken}).epochs >= 1


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
    assert names() == ["dropped_in"]
    assert load("dropped_in").domains["epochs"].high == 2
    del sys.modules["search_spaces.dropped_in"]


@pytest.mark.parametrize("knob", ["noise", "Noise_rate", "strategy", ""])
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
    assert all(f"'{name}'" in str(caught.value) for name in modules("trainables/strategies"))


@pytest.mark.parametrize("domain", [None, FloatDistribution(5, 20), CategoricalDistribution((5, 20))])
def test_epochs_must_be_searched_as_whole_numbers(domain):
    domains = {"lr": FloatDistribution(1e-4, 1e-2)} | ({} if domain is None else {"epochs": domain})
    with pytest.raises(ValueError, match="must search `epochs` with an IntDistribution"):
        Space("noisy_label", domains)


@pytest.mark.parametrize("name", ["noisy", "space", "__init__", "", "../study/run", "space.Space"])
def test_an_unknown_space_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match="no search space") as caught:
        load(name)
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
    ],
    ids=str,
)
def test_up_to_sets_the_longest_trial_and_nothing_else(domain, epochs, shorter):
    published = Published(0.7, 0.1, "a paper")
    space = Space("noisy_label", {"lr": FloatDistribution(1e-4, 1e-2), "epochs": domain}, published)
    cut = space.up_to(epochs)
    assert cut == Space("noisy_label", {"lr": FloatDistribution(1e-4, 1e-2), "epochs": shorter}, published)
    assert space.domains["epochs"] == domain


def test_loading_every_space_imports_neither_torch_nor_ray():
    code = (
        "import sys; from search_spaces.space import load, names; print(*[load(name).strategy for name in names()]);"
        "print(*sorted({'torch', 'ray', 'mlflow', 'monai', 'study', 'analysis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded, forbidden = done.stdout.split("\n")[:2]
    assert loaded.split()
    assert forbidden == ""
