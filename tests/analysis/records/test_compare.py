import json
from dataclasses import replace

import moocore
import numpy as np
import pytest

from analysis.compare import differences, main, outcomes
from study.records.reading import load_study

POINTS = [(0.87, 0.6), (0.86, 0.2), (0.8, 0.1), (0.7, 0.0)]
BETTER = [(0.87, 0.3), (0.85, 0.05)]
DASH = "–"  # noqa: RUF001


@pytest.fixture
def two(search_folder):
    """Two studies, the second with changes."""

    def write(points=BETTER, trial=lambda row: row, **changes):
        return load_study(search_folder("one", POINTS)), load_study(search_folder("two", points, trial, **changes))

    return write


def changed(record, settings=(), **changes):
    return {"settings": record["settings"] | dict(settings), **changes}


@pytest.fixture
def searched(search_folder):
    """The study.json of a search."""
    return json.loads((search_folder("as it is", POINTS) / "study.json").read_text())


def test_studies_that_differ_in_their_names_only_differ_in_nothing(two, searched):
    where = {"name": "two", "studies": "/elsewhere", "resume": "two"}
    assert differences(*two(**changed(searched, where))) == []


def test_only_what_differs_is_listed_with_both_values(two, searched):
    domains = {**searched["domains"], "lr": {**searched["domains"]["lr"]}}
    domains["lr"]["attributes"] = {**domains["lr"]["attributes"], "high": 0.5}
    del domains["epochs"]
    references = {**searched["references"], "retrained-1": {"digest": "e", "seed": 1, "forget_dice": 0.6}}
    references["baseline"] = {**references["baseline"], "digest": "another", "forget_dice": 0.1}
    changes = {
        "domains": domains,
        "references": references,
        "cohort": searched["cohort"] | {"digest": "beef"},
        "split": searched["split"] | {"forget": ["f2", "f3"], "retain": ["r3", "r1", "r2"]},
        "versions": {"torch": "2", "ray": "3"},
        "commit": "def",
    }
    found = differences(*two(**changed(searched, {"seed": 6, "constraint": ["seconds<=600"]}, **changes)))
    told = {name: (mine, other) for name, mine, other in found}
    assert len(told) == len(found)
    mine, other = told.pop("domain of lr")
    assert ("'high': 0.01" in mine, "'high': 0.5" in other) == (True, True)
    mine, other = told.pop("domain of epochs")
    assert ("'high': 12" in mine, other) == (True, DASH)
    assert told == {
        "seed": ("5", "6"),
        "constraint": ("[]", "['seconds<=600']"),
        "cohort hash": ("c0ffee", "beef"),
        "forget subjects": ("f1 f2", "f2 f3"),
        "baseline hash": ("b", "another"),
        "retrained-1 hash": (DASH, "e"),
        "version of ray": (DASH, "3"),
        "commit": ("abc", "def"),
    }


def test_outcomes_are_those_of_the_tables(two, found):
    one, other = two(trial=lambda row: row | found | {"strategy": "scrub"} if row["id"] == "t1" else row)
    told = {name: values for name, *values in outcomes(one, other)}
    volumes = [
        moocore.hypervolume(np.array([[forget, 1 - retain] for retain, forget in points]), ref=[1, 1])
        for points in (POINTS[:3], BETTER)
    ]
    assert told["trials"] == ["4, 3 of them feasible", "2, 2 of them feasible"]
    assert told["trial-seconds"] == ["46", "21"]  # 10 + 11 + 12 + 13
    assert told["on the front"] == ["3", "2"]
    assert told["hypervolume"] == [f"{volume:.3f}" for volume in volumes]
    assert told["best trial"] == ["t2", "t1"]
    assert told["strategy"] == ["noisy_label", "scrub"]
    assert told["dice gap"] == ["0.700", "0.800"]
    assert told["retain dice"] == ["0.800", "0.850"]
    assert told["forget dice"] == ["0.100", "0.050"]
    assert told["heldout dice"] == ["0.600", "0.600"]
    assert told["retention"] == [f"{0.8 / 0.88:.3f}", f"{0.85 / 0.88:.3f}"]
    assert told["retrain gap"] == ["0.510", "0.560"]
    assert told["evidence"] == [DASH, "over-forgets"]
    (best,) = (row for row in other.trials.to_dict("records") if row["id"] == "t1")
    recipe = dict(knob.split("=") for knob in told["recipe"][1].split())
    assert {name: float(value) for name, value in recipe.items()} == pytest.approx(
        {name: best[name] for name in ("lr", "noise_rate", "epochs")}, rel=0.05
    )


def test_without_a_feasible_trial_there_are_dashes(two):
    told = {name: other for name, _, other in outcomes(*two(points=[(0.5, 0.1)]))}
    assert (told["trials"], told["on the front"], told["hypervolume"]) == ("1, 0 of them feasible", "0", "0.000")
    names = ("best trial", "strategy", "recipe", "dice gap", "retention", "evidence")
    assert [told[name] for name in names] == [DASH] * len(names)


def test_a_study_without_trials_is_compared(two, tmp_path):
    one, _ = two()
    empty = replace(one, trials=one.trials.iloc[:0])
    told = {name: other for name, _, other in outcomes(one, empty)}
    assert (told["trials"], told["trial-seconds"], told["best trial"]) == ("0, 0 of them feasible", "0", DASH)


def test_the_command_prints_both_tables_and_writes_the_page_if_asked(two, tmp_path, capsys, monkeypatch, page_of):
    monkeypatch.setenv("COLUMNS", "120")
    two(commit="d[e]f")
    arguments = ["one", "two", "--studies", str(tmp_path / "studies")]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert ["commit", "abc", "d[e]f"] in [line.split() for line in lines]
    assert ["best", "trial", "t2", "t1"] in [line.split() for line in lines]
    assert not list(tmp_path.glob("*.html"))
    file = tmp_path / "both.html"
    assert main([*arguments, "--to", str(file)]) == 0
    assert str(file) in capsys.readouterr().out
    page = page_of(file.read_text())
    assert page.all("title") == ["one and two"]
    assert not [given for _, given in page.tags if {"src", "href"} & set(given)]
    assert '"name":"front of two"' in file.read_text()


def test_an_unknown_study_exits_with_2_and_names_those_that_are_there(two, tmp_path, capsys):
    two()
    for names in (["one", "three"], ["three", "one"]):
        assert main([*names, "--studies", str(tmp_path / "studies"), "--to", str(tmp_path / "x.html")]) == 2
        said = capsys.readouterr()
        assert said.err == f"error: no study 'three' in {tmp_path / 'studies'}; there are one, two\n"
        assert said.out == ""
    assert not (tmp_path / "x.html").exists()
