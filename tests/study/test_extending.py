"""What a package adds to Lethe: the example package, installed, and one metric and one objective in every output."""

import configparser
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.compare import outcomes
from analysis.figures.front import front_figure, history_figure
from analysis.report import report_parts
from analysis.statistics.intervals import metric_intervals, values_after
from analysis.statistics.recipes import entries, ranking
from analysis.ui.payload import study_payload
from search_spaces import space as spaces
from study.evidence.columns import all_columns
from study.networks.session import Reference
from study.planning.metrics import installed_metrics
from study.planning.plan import make_plan
from study.recording.recorder import Recorder
from study.recording.run_contents import PARENT, StudyRuns
from study.records.constraints import parse
from study.records.evidence import EvidenceColumn
from study.records.failure import StudyError
from study.records.metrics import METRICS
from study.records.objectives import OBJECTIVES, Goal, Objective
from study.records.reading import load_study
from study.records.settings import SearchOptions
from study.records.study_record import ReferenceRecord, SplitRecord, read_record
from study.records.trials import FINISHED
from study.session import study_record
from trainables.mechanics.strategy import build
from trainables.med3d import med3d
from trainables.registry import READERS, STRATEGIES
from trainables.scan_metric import scan_metrics
from trainables.unlearning import Unlearning

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests/example_package"
ADDED = [f"{subset}_volume_error" for subset in ("retain", "forget", "heldout")]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The example package as an installer leaves it, for this process and for those that it starts."""
    project = configparser.ConfigParser()
    project.read(PACKAGE / "pyproject.toml")
    points = {name.split('"')[1]: section for name, section in project.items() if "entry-points" in name}
    info = tmp_path / "site/lethe_example-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lethe-example\nVersion: 1.0\n")
    lines = [
        line
        for group, named in points.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in named.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines).replace('"', ""))
    (info.parent / "lethe_example").symlink_to(PACKAGE / "lethe_example")
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(info.parent), str(ROOT)]))
    scan_metrics.cache_clear()
    yield
    scan_metrics.cache_clear()
    for name in [name for name in sys.modules if name.startswith("lethe_example")]:
        del sys.modules[name]


@pytest.fixture
def pairs(cohort_list, tmp_path):
    """The tiny cohort as the example's reader wants it."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for line in cohort_list.read_text().splitlines():
        image, label = (cohort_list.parent / name for name in line.split())
        (folder / image.name.replace(".nii", "_image.nii")).symlink_to(image)
        (folder / image.name.replace(".nii", "_label.nii")).symlink_to(label)
    return folder


def test_an_installed_package_adds_one_of_each(installed):
    assert "to_background" in STRATEGIES.names()
    assert "to_background" in spaces.SPACES.names()
    assert "pairs" in READERS.names()
    assert set(scan_metrics()) == {"dice", "mae", "volume_error"}
    assert spaces.SPACES.load("to_background") is spaces.SPACES.load("lethe_example.spaces:SPACE")
    assert spaces.knobs_of("to_background")[0] == "pull"


@pytest.mark.parametrize(
    "space", ["to_background", pytest.param("lethe_example.spaces:SPACE", marks=pytest.mark.slow)]
)
def test_its_space_is_explained(installed, space):
    command = [sys.executable, "-m", "study.run", "--space", space, "--explain", "--set", "pull=0.1..0.2"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "to_background" in told
    assert "pull" in told


@pytest.mark.parametrize("kind", ["pairs", "lethe_example.readers:read_pairs"])
def test_its_reader_strategy_and_metric_make_an_epoch(installed, settings, pairs, kind):
    space = "to_background" if kind == "pairs" else "lethe_example.spaces:SPACE"
    plan = make_plan(replace(settings, cohort=f"{kind}:{pairs}", space=space))
    assert len(plan.cohort.subjects) == 6
    assert ":" not in plan.settings.name
    assert plan.settings.folder.name.startswith(f"{space.replace(':', '.')}-{kind.partition(':')[0]}-")
    strategy, recipe = build(plan.space.strategy, {"pull": 0.5, "lr": 1e-3, "epochs": 1})
    report = next(Unlearning(med3d(10, plan.data.classes), plan.data, strategy, recipe, seed=0))
    assert set(ADDED) <= set(report.metrics)
    assert all(report.metrics[name] > 0 for name in ADDED)


def test_a_constraint_may_be_on_its_metric_and_only_while_it_is_installed(installed, settings):
    settings = replace(settings, constraint=("forget_volume_error>=0.5",))
    assert make_plan(settings).constraints[-1] == parse("forget_volume_error>=0.5")
    with pytest.raises(StudyError, match="did you mean retain_volume_error"):
        make_plan(replace(settings, constraint=("retain_volume_eror<=1",)))


def test_a_metric_that_is_gone_is_no_ground_for_a_constraint_but_stays_in_the_tables(settings):
    plan = make_plan(settings)
    with pytest.raises(StudyError, match="no metric 'retain_volume_error'"):
        make_plan(replace(settings, constraint=("retain_volume_error<=1",)))
    gone = METRICS["retain_dice"]._replace(column="retain_old", title="Retain old")
    plan.settings.folder.mkdir(parents=True)
    metrics = {**installed_metrics(), "retain_old": gone}
    record = replace(study_record(plan, {}), metrics=metrics, evidence_columns={"old": EvidenceColumn()})
    record.write(plan.settings.folder)
    again = study_record(make_plan(settings), {})
    assert again.metrics == metrics
    assert again.evidence_columns == {"old": EvidenceColumn(), **all_columns()}


def test_what_a_record_without_metrics_means_is_still_measured():
    assert METRICS.items() <= installed_metrics().items()


KNOBS = {"lr": float, "epochs": int}
SETS = {"retain": ("s-1", "s-2"), "forget": ("s-3",), "heldout": ("s-4",)}


@pytest.fixture
def steady(monkeypatch):
    """One more objective: the smallest volume error of the retain subjects."""
    objective = Objective(
        Goal("retain_volume_error", -1),
        (Goal("retain_dice", 1), Goal("forget_volume_error", -1)),
        "Forget volume error",
        "minimise the retain volume error",
    )
    monkeypatch.setitem(OBJECTIVES, "steady", objective)
    monkeypatch.setitem(SearchOptions.__annotations__, "objective", str)  # made of the objectives when it is imported
    return objective


@pytest.fixture
def study(installed, steady, tmp_path):
    """A study with that objective, written as a session writes one."""
    metrics = installed_metrics()
    folder = tmp_path / "studies/steady"
    (stored,) = (ROOT / "tests/data/studies-of-0.1").glob("noisy_label-*")
    record = read_record(stored)
    record = replace(
        record,
        name="steady",
        metrics=metrics,
        constraints=(parse("heldout_volume_error<=9"),),
        knobs=KNOBS,
        split=SplitRecord(**SETS),
        domains={},
        settings=replace(record.settings, objective="steady"),
        references={"baseline": ReferenceRecord("b", 0, dict.fromkeys(metrics, 0.75))},
    )
    recorder = Recorder(folder, record)
    values = {name: [0.75] * len(SETS[metric.subset]) for name, metric in metrics.items() if metric.subset}
    means = dict.fromkeys(values, 0.75)
    history = [{"epoch": 1, "loss": 1.0, "seconds": 1.0, **means}]
    recorder.reference("baseline", Reference("b", 0, means, values, history, {}))
    for trial, error in (("first", 4.0), ("second", 2.5), ("third", 9.5)):
        recorder.started({"id": trial, "strategy": "to_background", "seed": 0, "knobs": {"lr": 0.1, "epochs": 1}})
        result = dict.fromkeys(metrics, 0.5) | dict.fromkeys(ADDED, error) | {"retain_dice": error / 10}
        result |= {"epoch": 1, "loss": 1.0, "seconds": 1.0, "subjects": {name: [error, error] for name in values}}
        recorder.epoch(trial, result)
        recorder.ended(trial, FINISHED, diverged=False)
    recorder.close()
    record.write(folder)
    return load_study(folder)


def test_an_added_metric_stands_in_every_table(study):
    assert set(study.metrics) == {*installed_metrics(), *ADDED}
    assert study.trials.set_index("id")[ADDED].to_numpy().tolist() == [[4.0] * 3, [2.5] * 3, [9.5] * 3]
    assert study.history.set_index("id").loc["second", "forget_volume_error"] == 2.5
    assert set(study.subjects["volume_error"]) == {0.75, 4.0, 2.5, 9.5}
    assert study.evidence.columns.tolist().count("heldout_volume_error") == 1  # the table of references


@pytest.mark.slow
def test_an_added_objective_and_a_constraint_on_an_added_metric_decide_the_front(study):
    assert study.objective is OBJECTIVES["steady"]
    trials = study.trials.set_index("id")
    assert trials["feasible"].to_dict() == {"first": True, "second": True, "third": False}
    assert trials["on_front"].to_dict() == {"first": True, "second": True, "third": False}


def test_an_added_metric_is_logged_under_its_set(study, tmp_path):
    recorder = Recorder(tmp_path / "studies/steady", study)
    recorder.result([], complete=True)
    runs = StudyRuns(recorder, {}, {})
    contents = dict(runs.contents(runs.states(over=True), lambda name: 0))
    parent, trial = contents[PARENT], contents["second"]
    assert trial.epochs[0]["forget/volume_error"] == parent.epochs[0]["forget/volume_error"] == 2.5
    assert trial.params == {"seed": 0, "lr": 0.1, "epochs": 1, "strategy": "to_background"}


def test_an_added_metric_stands_on_the_pages(study, tmp_path):
    payload = study_payload(study, tmp_path)
    assert payload["axes"]["heldout_volume_error"] == "Held-out volume error (thousand voxels)"
    assert payload["columns"]["retain_volume_error"] == [4.0, 2.5, 9.5]
    assert set(ADDED) <= set(payload["shown"])
    assert (payload["best"], payload["forgetting"]) == ("second", "forget_volume_error")
    assert payload["objective"] == "minimise the retain volume error"
    figure = front_figure(study)
    assert figure.layout.xaxis.title.text.startswith("Forget volume error")
    assert figure.layout.xaxis.range is None
    assert any("Forget volume error 2.500" in text for trace in figure.data for text in trace.text or ())
    other = front_figure(study, "seconds", "heldout_volume_error")
    assert other.layout.yaxis.title.text == "Held-out volume error (thousand voxels)"
    assert history_figure(study).layout.yaxis.title.text == "Retain volume error (thousand voxels)"


def test_an_added_metric_stands_in_report_and_comparison(study):
    text = "\n".join(part for part in report_parts([study]) if isinstance(part, str))
    assert all(text.count(f"| {name} ") == 2 for name in ADDED)  # of references and of the front
    (ranked,) = ranking(entries([study])).to_dict("records")
    assert (ranked["retain_volume_error"], ranked["forget_volume_error"]) == (2.5, 2.5)
    assert ("forget volume error", "2.500", "2.500") in outcomes(study, study)
    intervals = metric_intervals(study, values_after(study, ["first", "second"], 1))
    mean, low, high = intervals["forget_volume_error"]
    assert mean == 3.25
    assert np.isnan([low, high]).all()  # of one subject


def test_an_added_objective_is_an_option_at_once():
    program = (
        "from study.records import objectives; added = objectives.OBJECTIVES['gap'];"
        "objectives.OBJECTIVES['steady'] = added; from study.run import parse;"
        "print(parse(['--space', 'scrub', '--objective', 'steady']).objective)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "steady"
