import re
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.narrowing import GRAMMAR, narrow
from search_spaces.space import SPACES, Space
from study.search.searcher import choose

FORGET = CategoricalDistribution(["ascent", "noisy_labels"])
RETAIN = CategoricalDistribution(["segment", "features"])
MOVES = CategoricalDistribution(["all", "encoder", "decoder"])
RATE, CEILING = FloatDistribution(0.5, 1.0), FloatDistribution(1.0, 20.0, log=True)
EPOCHS = IntDistribution(5, 20)
LR = FloatDistribution(1e-4, 1e-2, log=True)


@pytest.fixture
def space():
    """Every kind of domain, two of them logarithmic."""
    return Space(
        "noisy_label",
        {
            "lr": LR,
            "noise_rate": RATE,
            "resample": CategoricalDistribution((False, True)),
            "lora_rank": CategoricalDistribution((2, 4)),
            "optimizer": CategoricalDistribution(("adamw", "sgd")),
            "epochs": EPOCHS,
            "retain_batch": IntDistribution(1, 8, log=True),
        },
        fixed={"lora_scale": 4.0},
    )


@pytest.fixture
def conditional():
    """Moves where the retain term is on labels; a rate or a ceiling by what is forgotten."""
    domains = {"forget": FORGET, "retain": RETAIN, "moves": MOVES, "noise_rate": RATE, "ceiling": CEILING}
    conditions = {
        "moves": {"retain": ["segment"]},
        "noise_rate": {"forget": ["noisy_labels"], "moves": ["all", "encoder"]},
        "ceiling": {"forget": ["ascent"]},
    }
    return Space("mechanics", {**domains, "epochs": EPOCHS}, conditions)


def problems_of(space, *settings):
    with pytest.raises(ValueError, match=r"\S") as caught:
        narrow(space, settings)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr=0.001", 0.001),
        ("lr=1e-3", 0.001),
        ("lr=1", 1.0),  # a float all the same, and beyond the domain
        (" epochs = 7 ", 7),
        ("resample=true", True),
        ("resample=False", False),
        ("resample=step", "step"),
        ("optimizer=sgd", "sgd"),
        ("optimizer='sgd'", "sgd"),
        ("lora_rank=16", 16),
        ("forget_batch=3", 3),  # not searched, so as it is written
        ("clip=0.5", 0.5),
        ("lora_scale=2", 2),
        ("forget_schedule=cosine", "cosine"),
    ],
)
def test_a_value_holds_a_knob(space, text, value):
    held = narrow(space, [text])
    knob = text.partition("=")[0].strip()
    assert held.fixed == {"lora_scale": 4.0, knob: value}
    assert type(held.fixed[knob]) is type(value) is held.knobs[knob]
    assert held.domains == {name: domain for name, domain in space.domains.items() if name != knob}
    assert all(corner[knob] == value for corner in held.corners)
    assert knob == "lora_scale" or knob not in space.fixed


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("lr=1e-5..1e-3", FloatDistribution(1e-5, 1e-3, log=True)),
        ("lr=1..2", FloatDistribution(1.0, 2.0, log=True)),
        ("lr = 1e-3 .. 2e-3", FloatDistribution(1e-3, 2e-3, log=True)),
        ("lr=0..0.5/0.25", FloatDistribution(0.0, 0.5, step=0.25)),  # steps are not logarithmic
        ("noise_rate=0..1", FloatDistribution(0.0, 1.0)),
        ("noise_rate=.5..1.", FloatDistribution(0.5, 1.0)),
        ("noise_rate=0..1/0.5", FloatDistribution(0.0, 1.0, step=0.5)),
        ("noise_rate=-2..-1", FloatDistribution(-2.0, -1.0)),
        ("epochs=2..40", IntDistribution(2, 40)),
        ("epochs=10..50/10", IntDistribution(10, 50, step=10)),
        ("epochs=10 .. 50 / 20", IntDistribution(10, 50, step=20)),
        ("retain_batch=1..4", IntDistribution(1, 4, log=True)),
        ("retain_batch=1..4/1", IntDistribution(1, 4)),
        ("lora_rank=1..16", IntDistribution(1, 16)),
        ("lr=1e-4|1e-3|1", CategoricalDistribution((1e-4, 1e-3, 1.0))),
        ("epochs=5|20|10", CategoricalDistribution((5, 20, 10))),
        ("optimizer=sgd", None),
        ("optimizer=sgd|adamw", CategoricalDistribution(("sgd", "adamw"))),
        ("resample=true|false", CategoricalDistribution((True, False))),
        ("lora_rank = 8 | 2", CategoricalDistribution((8, 2))),
    ],
)
def test_a_range_or_a_list_takes_the_place_of_the_spaces_own(space, text, domain):
    narrowed, knob = narrow(space, [text]), text.partition("=")[0].strip()
    if domain is None:
        assert knob not in narrowed.domains
        return
    assert narrowed.domains[knob] == domain
    assert list(narrowed.domains) == list(space.domains)
    assert (narrowed.fixed, narrowed.conditions) == (space.fixed, space.conditions)
    assert narrowed.knobs == space.knobs


def test_a_domain_of_integers_or_floats_has_the_type_of_the_knob(space):
    choices = narrow(space, ["lr=1|2", "epochs=5|10"]).domains
    assert [type(value) for value in choices["lr"].choices] == [float, float]
    assert [type(value) for value in choices["epochs"].choices] == [int, int]


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("lora_scale=1..8", IntDistribution(1, 8)),
        ("lora_scale=1.0..8", FloatDistribution(1.0, 8.0)),
        ("clip=0.5|1.0", CategoricalDistribution((0.5, 1.0))),
        ("weight_decay=0.01..0.1", FloatDistribution(0.01, 0.1)),
    ],
)
def test_what_was_held_or_left_alone_can_be_searched(space, text, domain):
    narrowed, knob = narrow(space, [text]), text.partition("=")[0]
    assert narrowed.domains == {knob: domain, **space.domains}
    assert narrowed.fixed == ({} if knob == "lora_scale" else space.fixed)


def test_several_knobs_are_changed_at_once_and_the_space_itself_is_not(space):
    before = replace(space)
    narrowed = narrow(space, ["noise_rate=1", "epochs=10", "lr=1e-3..1e-2", "clip=1.0"])
    assert narrowed.fixed == {"lora_scale": 4.0, "noise_rate": 1.0, "epochs": 10, "clip": 1.0}
    assert narrowed.domains["lr"] == FloatDistribution(1e-3, 1e-2, log=True)
    assert narrowed.epochs == [10]
    assert space == before
    assert narrow(space, []) == space


def drawn(space):
    """Every set of knobs beside the epochs that many draws have, written with commas."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return {",".join(sorted({*space.fixed, *choose(space, study.ask())} - {"epochs"})) for _ in range(200)}


@pytest.mark.parametrize(
    ("settings", "knobs"),
    [
        (["forget=ascent", "retain=segment"], ["ceiling,forget,moves,retain"]),
        (["retain=features"], ["ceiling,forget,retain", "forget,retain"]),
        (["forget=noisy_labels", "retain=features"], ["forget,retain"]),  # no moves, so no rate
        (["forget=noisy_labels", "moves=decoder"], ["forget,moves,retain"]),  # also where features are retained
        (["forget=noisy_labels", "moves=all"], ["forget,moves,noise_rate,retain"]),
        (["moves=all|encoder", "forget=noisy_labels"], ["forget,moves,noise_rate,retain", "forget,retain"]),
        (["moves=all|decoder", "forget=ascent"], ["ceiling,forget,moves,retain", "ceiling,forget,retain"]),
        (["ceiling=5", "forget=noisy_labels", "retain=features"], ["ceiling,forget,retain"]),
    ],
    ids=str,
)
def test_what_is_held_decides_what_is_searched_beside_it(conditional, settings, knobs):
    """A held knob has no condition; one that is searched elsewhere keeps its own."""
    narrowed = narrow(conditional, settings)
    assert sorted(drawn(narrowed)) == knobs
    assert [name for name in conditional.domains if name in narrowed.domains] == list(narrowed.domains)


def test_a_further_change_takes_up_a_knob_that_was_held(conditional):
    held = narrow(conditional, ["moves=decoder", "retain=segment"])
    assert drawn(narrow(held, ["moves=all|encoder", "forget=ascent"])) == {"ceiling,forget,moves,retain"}


def test_configurations_can_be_counted_where_held_knobs_rule_out_what_cannot(conditional):
    """No rate is searched without noisy labels, whatever its domain."""
    ascent = narrow(conditional, ["forget=ascent", "retain=segment", "ceiling=1|5", "epochs=5|6"])
    assert ascent.size == 3 * 2 * 2
    labels = narrow(conditional, ["forget=noisy_labels", "retain=features"])
    assert labels.size == 16  # no moves, so no rate: epochs are left


def test_published_configurations_follow_what_is_held_and_drop_out_of_what_is_narrowed():
    space = SPACES.load("mechanics")
    assert [start["forget"] for start in space.starts] == [
        "noisy_labels",
        "retain_labels",
        "ascent",
        "random_features",
        "noise_image",
    ]
    words = narrow(space, ["forget=ascent|noise_image"])
    assert [start["forget"] for start in words.starts] == ["ascent", "noise_image"]
    assert all(start["lr"] == 0.002 for start in narrow(space, ["lr=0.002"]).starts)
    assert len(narrow(space, ["lr=0.002"]).starts) == 5
    assert [start["forget"] for start in narrow(space, ["lr=5e-4..2e-3"]).starts] == ["noisy_labels", "retain_labels"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("noise_rate", f"must be {GRAMMAR}, but got 'noise_rate'"),
        ("noise_rate=", "but got 'noise_rate='"),
        ("=1", "but got '=1'"),
        ("", "but got ''"),
        ("nosie_rate=1.0", "strategy 'noisy_label' has no knob 'nosie_rate'; it has "),
        ("strategy=max_loss", "no knob 'strategy'"),
        ("epochs=7.5", "epochs=7.5: not a value of epochs, which is searched in IntDistribution("),
        ("epochs=many", "epochs=many: not a value"),
        ("epochs=true", "epochs=true: not a value"),
        ("lr=fast", "lr=fast: not a value"),
        ("lr=true", "lr=true: not a value"),
        ("lr=(1, 2)", "lr=(1, 2): not a value"),
        ("clip=[1]", "clip=[1]: not a value"),
        ("resample=1", "resample=1: not a value"),
        ("lora_rank=2.5", "lora_rank=2.5: not a value"),
        ("lr=1e-3|1e-3", "lr=1e-3|1e-3: not a list of different values of one kind"),
        ("lr=1|1.0", "not a list of different values"),
        ("clip=1|0.5", "not a list of different values of one kind"),
        ("epochs=5|ten", "epochs=ten: not a value"),
        ("lr=1e-3|", "lr=: not a value"),
        ("lr=1..fast", "lr=fast: not a value"),
        ("lr=2..1", "lr=2..1: "),
        ("lr=0..1", "lr=0..1: "),  # a logarithm of nothing
        ("epochs=5..10/0", "epochs=5..10/0: "),
        ("epochs=5..10/-1", "epochs=5..10/-1: "),
        ("epochs=5..10/2.5", "epochs=2.5: not a value"),
        ("noise_rate=0..1e999", "noise_rate=0..1e999: the ends of a range must be numbers"),
        ("noise_rate=0..1/0", "noise_rate=0..1/0: "),
        ("optimizer=adamw..sgd", "optimizer=adamw..sgd: the ends of a range must be numbers"),
        ("resample=false..true", "the ends of a range must be numbers"),
        ("clip=a..b", "the ends of a range must be numbers"),
    ],
)
def test_what_cannot_be_is_one_problem_that_quotes_it(space, text, words):
    (problem,) = problems_of(space, text)
    assert words in problem


def test_an_unknown_knob_is_refused_with_those_there_are(space):
    (problem,) = problems_of(space, "ceiling=3.0")
    listed = problem.partition("it has ")[2].split(", ")
    assert listed == sorted(listed)
    assert {"noise_rate", "resample", "forget_weight", "lr", "epochs", "lora_rank"} <= set(listed)


def test_all_problems_are_told_at_once_in_the_order_of_the_texts(space):
    texts = ["noise_rate=1", "lr", "noise_rate=0.5", "epochs=x", "colour=red", "lr=2..1", "clip=1|1"]
    problems = problems_of(space, *texts)
    starts = ["must be KNOB=VALUE", "noise_rate is set twice", "epochs=x", "strategy", "lr=2..1", "clip=1|1"]
    assert len(problems) == len(starts)
    assert all(re.match(re.escape(start), problem) for start, problem in zip(starts, problems, strict=True))
