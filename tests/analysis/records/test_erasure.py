"""The erasure report: strict JSON, a page without foreign markup, and every number from the records."""

import json
import math
import re
from statistics import fmean

import pytest

from analysis.figures.charts import subjects_figure
from analysis.reports.erasure import erasure_report, write_report
from study.records.evidence import EVIDENCE
from study.records.files import write_json
from study.records.reading import load_study
from study.records.tables import references_table


def refuse(token):
    raise AssertionError(f"{token} is no JSON")


@pytest.fixture
def report(suite_folder, record, found):
    """Builds the report of the trial n0, whose evidence was gathered, and the study."""

    def build(trial=None, id="n0", **changes):
        evidence = found if trial is None else trial
        folder = suite_folder(trial=lambda row: row | evidence if row["id"] == id else row, **changes)
        references = references_table(folder)
        references.upsert(
            [row | found | {"relearn_steps": 0.0} for row in references.rows if row["id"] == "baseline"]
        )
        study = load_study(folder)
        (row,) = (row for row in study.rows if row.id == id)
        made = erasure_report(study, row)
        return study, made | {"hashes": {"model.pth": "ff"}, "command": "python -m study.run --space <x> && true"}

    return build


@pytest.fixture
def written(tmp_path):
    def write(study, made):
        write_report(made, subjects_figure(study, made["trial"], 4), tmp_path)
        plain = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
        return plain, (tmp_path / "report.html").read_text(encoding="utf-8")

    return write


def test_the_trial_its_knobs_and_metrics(report, values):
    _, made = report()
    assert made["trial"] == "n0"
    assert made["knobs"] == {"lr": 1e-3, "noise_rate": 0.9, "epochs": 4}
    assert made["feasible"] is True
    assert (made["objective"], made["constraints"]) == ("dice_gap", ["retention>=0.9", "seconds<=600"])
    assert made["metrics"]["retain_dice"]["mean"] == pytest.approx(
        fmean(values["n0", 4, one][0] for one in ("r1", "r2", "r3"))
    )
    assert made["verdict"] == "over-forgets"
    assert made["references"].keys() == {"baseline", "retrained", "retrained-1"}
    assert made["references"]["baseline"]["evidence"]["relearn_steps"] == 0
    assert set(made["evidence"]) == set(EVIDENCE) - {"evidence"}


def test_the_json_is_strict_and_never_is_a_word(report, written):
    plain, _ = written(
        *report(
            {
                **{name: math.nan for name in EVIDENCE if "auc" in name},
                **{"relearn_steps": math.inf, "evidence": "1", "remembers": None, "streisand": False},
            }
        )
    )
    assert plain["evidence"]["loss_auc"] is None
    assert plain["evidence"]["relearn_steps"] == "infinity"
    assert plain["verdict"] == "unknown"
    assert plain["metrics"]["retention"].keys() == {"mean", "low", "high"}
    assert plain["subjects"]["forget"] == ["f1", "f2"]


def test_undefined_metrics_stay_strict_json(report, written, suite_folder):
    study, made = report()
    made["metrics"]["forget_dice"] = {"mean": math.nan, "low": -math.inf, "high": math.inf}
    plain, page = written(study, made)
    assert plain["metrics"]["forget_dice"]["mean"] is None
    assert "NaN" not in json.dumps(plain)
    assert "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL).lower()


def test_questions_are_answered_for_the_trial_beside_the_references(report, written):
    _, page = written(*report())
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    told = {row[0]: row[1:] for row in rows}
    dash = "–"  # noqa: RUF001
    assert told[""] == ["n0", "baseline", "retrained", "retrained-1", "a network that never saw them"]
    assert told["relearn_steps"][:-1] == ["never", "0", dash, dash]
    assert told["loss_auc"][:2] == ["0.500 [0.500, 0.500]"] * 2
    assert told["resurfaced_dice"][:-1] == ["0.500", "0.500", dash, dash]
    assert {"retrained_low", "retrained_high", "streisand_p", "subject_gap", "pooled_auc"} <= told.keys()
    above, appendix = page.split("<h2>Appendix: ")
    assert "How to reproduce it" in above
    assert not {name for name in told if f"<td>{name}</td>" in above and name.endswith("_auc")}
    assert "2 v 2 subjects: only AUCs of 0, 0.25, 0.5, 0.75, 1 are possible" in appendix


def test_each_forget_subject_is_placed(report, written):
    study, _ = report()
    place = {"value": 0.5, "never_seen": [0.4, 0.6], "seen": [math.nan, math.nan], "above_never_seen": [2, 3]}
    place |= {"above_seen": [0, 0], "likelihood_ratio": math.nan}
    (study.folder / "evidence").mkdir()
    write_json(study.folder / "evidence" / "n0.json", {"places": {"f<1>": {"loss": place}}})
    plain, page = written(*report())
    assert plain["places"]["f<1>"]["loss"]["above_never_seen"] == [2, 3]
    dash = "–"  # noqa: RUF001
    cells = ["f&lt;1&gt;", "Loss", "0.500", "0.400 to 0.600", dash, "2 of 3", "0 of 0", dash]
    assert "".join(f"<td>{cell}</td>" for cell in cells) in page


def test_warnings_stand_on_top_and_in_the_json(report, written, record):
    chosen = record["selection"] | {"warnings": ["OPTIMISTIC: <all of it>"]}
    plain, page = written(*report(selection=chosen))
    assert plain["warnings"][0] == "OPTIMISTIC: <all of it>"
    above = page[: page.index("plotly-graph-div")]
    assert "OPTIMISTIC: &lt;all of it&gt;" in above
    assert "infeasible" not in page
    assert plain["selection"] == chosen


def test_an_infeasible_trial_without_evidence_says_so(report, written):
    plain, page = written(*report({}, id="n1"))
    assert plain["feasible"] is False
    assert plain["verdict"] == "no evidence was gathered"
    assert all(value is None for value in plain["evidence"].values())
    assert "infeasible: below the retain floor" in page
    assert "no evidence was gathered" in page


def test_names_are_shown_as_text(report, written, found, record, page_of):
    bad = "<script>alert(1)</script>"
    split = record["split"] | {"forget": [f"f1{bad}", "f2"]}
    study, made = report(found | {"strategy": f"s{bad}"}, name=f"study{bad}", split=split, commit=bad)
    clean = written(*report())[1]
    plain, page = written(study, made)
    assert plain["study"] == f"study{bad}"
    parsed = page_of(page)
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in page_of(clean).tags]
    assert bad not in page
    assert f"s{bad}" in parsed.text
    assert "--space <x> && true" in parsed.text


def test_the_figure_has_every_subject_of_the_references_and_of_the_trials_epoch(suite_study, values):
    figure = subjects_figure(suite_study(), "n0", 4)
    drawn = {
        (trace.x[place], trace.text[place]): trace.y[place] for trace in figure.data for place in range(len(trace.x))
    }
    epochs = {"baseline": 60, "retrained": 60, "n0": 4}  # study.json names these two references
    expected = {
        (id, one): values[id, epochs[id], one][0]
        for id in epochs
        for one in ("r1", "r2", "r3", "f1", "f2", "h1", "h2")
    }
    assert drawn == pytest.approx(expected)
    assert {trace.name: len(trace.x) for trace in figure.data} == {"retain": 9, "forget": 6, "held out": 6}
    assert list(figure.layout.xaxis.categoryarray) == ["baseline", "retrained", "n0"]
