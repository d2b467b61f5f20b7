"""One file makes a measure and one a conclusion: their columns stand in every output without a further edit."""

import json
import sys

import numpy as np
import pytest

from analysis.evidence import conclude as concluding
from analysis.evidence.conclusion import Conclusion, Examined, Findings, Judged, Terms
from analysis.figures.charts import subjects_figure
from analysis.figures.front import front_figure
from analysis.report import report_parts
from analysis.reports.erasure import erasure_report, write_report
from analysis.ui.payload import study_payload
from study.evidence import columns
from study.recording.recorder import Recorder
from study.recording.run_contents import StudyRuns
from study.records.evidence import EVIDENCE, EvidenceColumn
from study.records.failure import StudyError
from study.records.reading import load_study
from study.records.study_record import read_record
from study.records.tables import study_tables

MEASURE = """
from trainables.evidence.measure import Measure

largest_loss = Measure(lambda network, context: 1.5, "Largest loss", question="What is worst?", remembered="less")
"""
NEW = {"largest_loss", "largest_loss_retrained", "spread"}
TERMS = Terms({"largest_loss": Judged("Largest loss")}, ("f1", "f2"), 0.25, 4)


SPREAD = Conclusion(
    lambda findings: {"spread": float(np.ptp(findings.network.forget["dice"]))},
    {"spread": EvidenceColumn("float", "Spread of Dice", "How far apart are they?", "as retrained")},
)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package with entry points of measures; adds the conclusion."""
    monkeypatch.syspath_prepend(str(tmp_path))
    every = {**concluding.conclusions(), "spread": SPREAD}
    monkeypatch.setattr(concluding, "conclusions", lambda: every)
    monkeypatch.setattr(columns, "conclusions", lambda: every)

    def install(*points):
        (tmp_path / "hidden_measure.py").write_text(MEASURE)
        info = tmp_path / "hidden_measure-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hidden_measure\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[lethe.measures]", *points]))

    return install


@pytest.fixture
def folder(installed, suite_folder, tmp_path):
    """A study whose trial n0 and baseline have evidence."""
    installed("largest_loss = hidden_measure:largest_loss")
    scores = {"dice": np.array([0.2, 0.7]), "class_dice": np.full((2, 2), 0.5), "features": np.zeros((2, 3))}
    scores |= {"cross_entropy": np.ones(2), "confidence": np.full(2, 0.5)}
    measured = Examined(scores, scores, {"largest_loss": np.array([1.0, 2.0])})
    evidence = concluding.conclude(Findings(measured, {"retrained": measured}, {}), TERMS).columns | {"evidence": "1"}
    plain = {name: column.plain() for name, column in columns.all_columns().items()}
    folder = suite_folder(trial=lambda row: row | evidence if row["id"] == "n0" else row, evidence_columns=plain)
    references = study_tables(folder, read_record(folder))["references"]
    references.upsert([{**row, **evidence} for row in references.rows if row["id"] == "baseline"])
    return folder


def test_tables_have_the_columns_and_their_values(folder):
    tables = study_tables(folder, read_record(folder))
    for table, name in ((tables["trials"], "n0"), (tables["references"], "baseline")):
        assert set(table.schema.names) >= NEW
        (row,) = table.read(id=name).to_pylist()
        assert (row["largest_loss"], row["largest_loss_retrained"]) == (1.5, 1.5)
        assert row["spread"] == pytest.approx(0.5)
    assert read_record(folder).evidence_columns["largest_loss"].never_seen == "as retrained; less if it remembers"


def test_mlflow_has_them(folder):
    recorder = Recorder(folder, read_record(folder))
    runs = StudyRuns(recorder, {}, {})
    ((_, run),) = runs.contents({"n0": runs.states(over=True)["n0"]}, lambda name: 4)
    assert {f"evidence/{name}" for name in NEW} <= run.values.keys()
    assert not NEW & run.params.keys()


def test_pages_report_and_erasure_report_show_them(folder, tmp_path):
    study = load_study(folder)
    payload = study_payload(study, folder)
    for name, title in {"largest_loss": "Largest loss", "spread": "Spread of Dice"}.items():
        assert payload["axes"][name] == title
        assert len(payload["columns"][name]) == len(study.trials)
        assert front_figure(study, x=name).layout.xaxis.title.text == title
        assert any(title in part for part in report_parts([study]) if isinstance(part, str))
    assert not {"pooled_auc", "largest_loss_retrained"} & payload["axes"].keys()  # nobody's, and beside another
    (row,) = (row for row in study.rows if row.id == "n0")
    made = erasure_report(study, row)
    assert made["evidence"]["largest_loss"] == 1.5
    assert made["questions"]["What is worst?"].keys() == {
        f"largest_loss{end}" for end in ("", "_retrained", "_residual")
    }
    assert made["questions"]["How far apart are they?"].keys() == {"spread"}
    write_report(made | {"hashes": {}, "command": ""}, subjects_figure(study, "n0", 4), tmp_path)
    assert "What is worst?" in (tmp_path / "report.html").read_text()


def test_a_study_keeps_its_columns_when_a_measure_is_no_longer_installed(folder):
    sys.path.remove(str(folder.parent))
    assert "largest_loss" not in columns.all_columns()
    assert "largest_loss" in load_study(folder).evidence_columns


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("gone = nowhere:gone", "nowhere cannot be imported"),
        ("subject_gap = hidden_measure:largest_loss", "two measures or conclusions fill .* subject_gap"),
        ("text = json:dumps", "is no measure"),
    ],
)
def test_a_measure_that_cannot_be_used_is_an_error_before_any_compute(installed, point, problem):
    installed(point)
    with pytest.raises(StudyError, match=problem):
        columns.all_columns()


def test_all_our_columns_are_documented(request):
    documented = (request.config.rootpath / "docs/evidence.md").read_text()
    for name in columns.all_columns():
        plain = name.removesuffix("_low").removesuffix("_high").removesuffix("_residual").removesuffix("_retrained")
        assert f"`{plain}`" in documented, name


def test_a_study_without_a_list_of_columns_has_those_of_the_first_version(suite_folder):
    folder = suite_folder()
    assert "evidence_columns" not in json.loads((folder / "study.json").read_text())
    assert read_record(folder).evidence_columns == EVIDENCE
    assert set(study_tables(folder, read_record(folder))["trials"].schema.names) >= EVIDENCE.keys()
