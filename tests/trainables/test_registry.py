"""What is found by its name, here and in installed packages, without being imported."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from trainables.registry import READERS, STRATEGIES, Registry

HIDDEN = "hidden_example"


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Makes importable files, and installed packages with the entry points of strategies that they have."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(package, points=(), files=None):
        for name, text in (files or {}).items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[lethe.strategies]", *points]))

    yield add
    for name in [name for name in sys.modules if name.startswith(HIDDEN)]:
        del sys.modules[name]


def failure(name, registry=STRATEGIES, call="load"):
    with pytest.raises(ValueError, match=f"^(no )?{registry.kind} ") as error:
        getattr(registry, call)(name)
    return str(error.value)


def test_an_installed_package_offers_its_things_under_their_names(packages):
    packages("theirs", [f"dropout = {HIDDEN}:forget"], {f"{HIDDEN}.py": "def forget(rate=0.5): ...\n"})
    assert {"dropout", "noisy_label"} <= set(STRATEGIES.names())
    assert STRATEGIES.address("dropout") == f"{HIDDEN}:forget"
    assert STRATEGIES.load("dropout") is STRATEGIES.load(f"{HIDDEN}:forget")
    assert STRATEGIES.load("dropout") is sys.modules[HIDDEN].forget


@pytest.mark.parametrize("name", [f"{HIDDEN}.deep.strategies:forget", "dropout"])
@pytest.mark.parametrize("packaged", [True, False], ids=["packages", "folders"])
def test_a_source_is_read_and_neither_it_nor_its_packages_are_imported(packages, name, packaged):
    text = "import not_installed\ndef forget(rate=0.5): ...\n"
    files = {f"{HIDDEN}/deep/strategies.py": text}
    if packaged:
        files |= dict.fromkeys((f"{HIDDEN}/__init__.py", f"{HIDDEN}/deep/__init__.py"), "raise RuntimeError\n")
    packages("theirs", [f"dropout = {HIDDEN}.deep.strategies:forget"], files)
    assert STRATEGIES.source(name) == (text, "forget")
    assert not [module for module in sys.modules if module.startswith(HIDDEN)]


def test_a_name_that_nobody_offers_is_refused_with_those_there_are():
    for call in ("load", "source", "address"):
        said = failure("dropout", call=call)
        assert said.startswith("no strategy 'dropout'; there are bad_teacher, ")
        assert all(name in said for name in STRATEGIES.names())


def test_two_packages_that_offer_one_name_are_both_named(packages):
    packages("theirs", [f"dropout = {HIDDEN}:forget"])
    packages("others", ["dropout = elsewhere:forget", "salun = elsewhere:salun"])
    said = failure("dropout")
    assert all(owner in said for owner in (f"theirs ({HIDDEN}:forget)", "others (elsewhere:forget)"))
    assert "Lethe (trainables.strategies.salun:salun) and others (elsewhere:salun)" in failure("salun")
    assert STRATEGIES.names().count("dropout") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import gone",
            f"{HIDDEN} cannot be imported (ModuleNotFoundError: No module named 'gone')",
        ),
        ("1 / 0", f"{HIDDEN} cannot be imported (ZeroDivisionError: division by zero)"),
        ("def other(): ...", "has no 'forget'"),
        ("forget = 3", f"{HIDDEN}:forget is no strategy but of type int"),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(packages, text, reason):
    packages("theirs", files={f"{HIDDEN}.py": text})
    assert reason in failure(f"{HIDDEN}:forget")


@pytest.mark.parametrize("module", ["not.there", HIDDEN, f"{HIDDEN}.inner", "sys"])
def test_no_source_of_a_module_is_said(packages, module):
    said = failure(f"{module}:forget", call="source")
    assert said == f"strategy '{module}:forget': there is no source of a module {module!r}"


@pytest.mark.parametrize("name", ["", ":", "a:", ":b", "a.b", "a..b:c", "1a:b", "a:b:c", "a b:c", "../a:b"])
def test_only_names_and_addresses_are_looked_up(name):
    assert failure(name).startswith(f"no strategy {name!r}; there are ")


def test_files_that_are_apart_have_no_name():
    spaces = Registry("space", "search_spaces", "lethe.none", Callable, "SPACE", frozenset({"space"}))
    assert "space" not in spaces.names()
    assert spaces.address("paper") == "search_spaces.paper:SPACE"
    assert READERS.address("bids") == "trainables.cohorts.readers.bids:read"


@pytest.mark.slow
def test_names_and_sources_are_had_without_torch_and_ray():
    program = (
        "import sys; from search_spaces.space import SPACES; [SPACES.load(name) for name in SPACES.names()];"
        "from trainables.registry import READERS; READERS.names();"
        "assert not {'torch', 'ray', 'mlflow', 'monai', 'study', 'analysis'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
