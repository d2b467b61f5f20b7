"""What is told of a pick's recipe over further seeds, against rows that are written by hand."""

import json
import math
import statistics

import pytest

from analysis.report import main
from analysis.reports.erasure import erasure_report, write_report
from analysis.reports.shortfalls import remarks
from analysis.statistics.repeats import varied
from study.records.evidence import EvidenceColumn
from study.records.metrics import METRICS
from study.records.reading import load_study
from study.records.rows import NetworkRow
from study.records.study_record import read_record
from study.records.tables import repeats_table

ADDED = {"dice_residual": EvidenceColumn(), "dice_residual_low": EvidenceColumn(), "verdict": EvidenceColumn("str")}
GAPS = (0.35, 0.47, 0.41)
SAID = (
    "Its recipe over 3 further seeds: gap 0.41 (0.35 to 0.47), retention 0.90 (0.80 to 1.00),"
    " residual memory (Dice) 0.30 (0.10 to 0.50), remembers 2, cannot tell 1."
)
CLAIM = "The claim about the recipe is that spread, and the network in the file one draw of it."


@pytest.fixture
def repeated(search_folder):
    """A search whose best trial was repeated: with its folder."""
    columns = {"evidence": {"type": "str"}} | {name: column.plain() for name, column in ADDED.items()}
    folder = search_folder(evidence_columns=columns)
    evidence = read_record(folder).evidence_columns
    best = load_study(folder).best.id
    rows = [
        {
            "id": best,
            "seed": seed,
            "dice_gap": gap,
            "retention": retention,
            "dice_residual": residual,
            "verdict": verdict,
        }
        for seed, (gap, retention, residual, verdict) in enumerate(
            zip(GAPS, (0.8, 1.0, 0.9), (0.1, 0.5, math.nan), ("remembers", "cannot tell", "remembers"), strict=True)
        )
    ]
    table = repeats_table(folder, METRICS, evidence)
    table.upsert([*rows, {"id": "another", "seed": 0, "dice_gap": 0.9, "verdict": "remembers"}])
    return folder, load_study(folder)


def test_spread_is_over_the_seeds_that_have_a_value(repeated):
    _, study = repeated
    found = varied(study.repeats_of(study.best.id))
    assert found["dice_gap"] == pytest.approx((statistics.mean(GAPS), statistics.stdev(GAPS), 0.35, 0.47))
    assert found["dice_residual"] == pytest.approx((0.3, statistics.stdev([0.1, 0.5]), 0.1, 0.5))
    assert found.keys() == {"dice_gap", "retention", "dice_residual"}
    (alone,) = study.repeats_of("another")
    assert math.isnan(varied([alone])["dice_gap"].sd)


def test_what_a_blind_measure_says_is_not_told():
    blind = {"dice_residual": -15.5, "dice_residual_low": -math.inf}
    assert varied([NetworkRow(id="a", seed=0, evidence=blind)]) == {}


def test_a_pick_is_told_with_its_recipes_spread_and_one_that_was_not_repeated_with_nothing(repeated, search_folder):
    _, study = repeated
    assert remarks(study, study.best) == [SAID]
    other = next(row for row in study.rows if row.id != study.best.id)
    assert remarks(study, other) == []
    without = load_study(search_folder("without"))
    assert without.repeats.empty
    assert remarks(without, without.best) == []


def test_the_report_shows_the_pick_beside_its_recipes_spread(repeated, tmp_path, page_of):
    folder, study = repeated
    assert main([folder.name, "--studies", str(folder.parent), "--to", str(tmp_path / "out")]) == 0
    page = page_of((tmp_path / "out/report.html").read_text())
    assert "The recipe over further seeds" in page.headings
    gap, _, residual = page.table(["", "the pick"])
    own = f"{study.best.metric('dice_gap'):.3f}"
    assert gap == {"": "gap", "the pick": own, "mean": "0.410", "sd": "0.060", "low": "0.350", "high": "0.470"}
    assert residual["the pick"] == "–"  # noqa: RUF001
    assert CLAIM in page.text
    assert "3 further seeds, verdicts remembers 2, cannot tell 1; the pick's own is unknown." in page.text


def test_the_erasure_report_says_it_in_a_sentence_and_of_others_nothing(repeated, tmp_path):
    _, study = repeated
    made = erasure_report(study, study.best) | {"hashes": {}, "command": ""}
    write_report(made, "", tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["repeats"] == f"{SAID} {CLAIM}"
    assert f"{SAID} {CLAIM}" in (tmp_path / "report.html").read_text()
    other = next(row for row in study.rows if row.id != study.best.id)
    assert erasure_report(study, other)["repeats"] == ""
