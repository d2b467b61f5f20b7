"""The report: what its two files hold against the records, and that neither needs anything from outside."""

import json
import math
import re
import shlex
import shutil

import moocore
import numpy as np
import pytest
from playwright.sync_api import Error, sync_playwright

from analysis.report import main, write_report
from study.records.evidence import EVIDENCE
from study.records.failure import StudyError
from study.records.reading import load_study
from study.records.tables import references_table, trials_table
from study.run import parse

KNEE = [(0.87, 0.6), (0.86, 0.2), (0.8, 0.1), (0.81, 0.7), (0.7, 0.0)]  # the last but one is beaten, the last too low
DASH = "–"  # noqa: RUF001


def bare(text):
    return re.sub(r"\\(.)", r"\1", text)


def markdown_tables(text):
    """The tables of a Markdown file, read by hand."""
    tables, inside = [], False
    for line in text.splitlines():
        if line.startswith("|") and not inside:
            tables.append([])
        inside = line.startswith("|")
        if inside and not re.fullmatch(r"\|(---\|)+", line):
            cells = re.findall(r"((?:\\.|[^|\\])*)\|", line[1:])
            tables[-1].append([bare(cell).strip() for cell in cells])
    return tables


@pytest.fixture
def written(tmp_path, page_of):
    """Writes the report of some folders and reads both files: the page, and the Markdown."""

    def write(*folders):
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        write_report([load_study(folder) for folder in folders], out)
        assert {path.name for path in out.iterdir()} == {"report.html", "report.md"}
        text, page = (out / "report.md").read_text(), page_of((out / "report.html").read_text())
        assert markdown_tables(text) == page.tables
        assert page.headings == [bare(line) for line in re.findall(r"^##? (.*)$", text, re.MULTILINE)]
        return page, text

    return write


def rows_of(folder):
    knobs = {"lr": float, "noise_rate": float, "epochs": int}
    return {row["id"]: row for row in trials_table(folder, knobs).rows}


def number(value):
    return DASH if value is None or math.isnan(value) else f"{value:.3f}"


@pytest.mark.slow
def test_a_search_from_the_question_to_the_command(search_folder, written, values):
    folder = search_folder()
    page, text = written(folder)
    assert page.headings == [
        *("Unlearning study search", "Question and answer", "Cohort and split", "References", "Front"),
        *("What decides it", "Training curves", "Cost", "How to reproduce it"),
    ]
    rows, baseline = rows_of(folder), [values["baseline", 60, one][0] for one in ("r1", "r2", "r3")]
    best = max((row for row in rows.values() if row["retain_dice"] >= 0.9 * 0.88), key=lambda row: row["dice_gap"])
    assert "forgets 2 of the 5 subjects that a Med3D-10 was trained on" in page.text
    assert f"(trial {best['id']}): retention {best['retain_dice'] / np.mean(baseline):.3f} [" in page.text
    assert f"forget Dice {best['forget_dice']:.3f} [" in page.text
    assert "Evidence: none was gathered." in page.text
    assert page.table(["set"]) == [
        {"set": "retain", "subjects": "3", "pseudonyms": "r1 r2 r3"},
        {"set": "forget", "subjects": "2", "pseudonyms": "f1 f2"},
        {"set": "held out", "subjects": "2", "pseudonyms": "h1 h2"},
    ]
    assert "7 scans of 48 x 240 x 240 voxels (3 x 0.958 x 0.958 mm)" in page.text
    assert page.table(["reference"]) == [
        {"reference": "baseline", "retain_dice": "0.880", "forget_dice": "0.870", "heldout_dice": "0.620"},
        {"reference": "retrained", "retain_dice": "0.860", "forget_dice": "0.610", "heldout_dice": "0.600"},
    ]
    command = re.search(r"The best trial again:\n\n```\npython -m study.run (.*)\n```", text).group(1)
    again = parse(shlex.split(command))
    assert dict(knob.split("=") for knob in again.knobs) == {
        name: str(best[name]) for name in ("lr", "noise_rate", "epochs")
    }
    assert (again.seed, again.trials) == (5, 1)
    assert dict(map(dict.values, page.table(["setting"])))["seed"] == "5"


def test_the_front_is_that_of_the_records_with_best_knee_and_hypervolume(search_folder, written):
    folder = search_folder(points=KNEE)
    page, _ = written(folder)
    rows = rows_of(folder)
    found = page.table(["trial", ""])
    assert [(row["trial"], row[""]) for row in found] == [("t2", "best"), ("t1", "knee"), ("t0", "")]
    for row in found:
        mine = rows[row["trial"]]
        for name in ("retain_dice", "forget_dice", "heldout_dice", "dice_gap", "retention", "retrain_gap"):
            assert row[name] == number(mine[name])
        assert int(row["epochs"]) == mine["epochs"]
        assert float(row["noise_rate"]) == pytest.approx(mine["noise_rate"], abs=5e-4)
    points = np.array([[forget, 1 - retain] for retain, forget in KNEE[:4]])
    volume = moocore.hypervolume(points, ref=[1, 1])
    assert f"3 of 5 trials are on the front; it dominates {volume:.3f} of the plane" in page.text


@pytest.mark.slow
def test_slopes_around_the_best_trial_and_the_sweeps_that_tell_more(search_folder, written):
    page, text = written(search_folder())
    (slope,) = (row for row in page.table(["knob", "value"]) if row["knob"] == "noise_rate")
    assert [slope[name] for name in ("retain_dice", "forget_dice", "dice_gap")] == [
        "-0.010 ± 0.000",
        "-0.080 ± 0.000",
        "+0.070 ± 0.000",
    ]
    commands = re.findall(r"^python -m study.run (.* --sampler grid .*)$", text, re.MULTILINE)
    swept = [parse(shlex.split(command)) for command in commands]
    assert [next(knob for knob in one.knobs if "|" in knob).partition("=")[0] for one in swept] == [
        "lr",
        "noise_rate",
        "epochs",
    ]
    assert len([tag for tag, given in page.tags if given.get("class") == "plotly-graph-div"]) == 4


def test_few_trials_say_that_importance_needs_more(search_folder, written):
    page, _ = written(search_folder(points=KNEE))
    assert "Importance needs 10 finished trials" in page.text


def test_a_study_without_a_feasible_trial_says_so_and_shows_what_there_is(search_folder, written):
    page, text = written(search_folder(points=[(0.7, 0.1), (0.5, 0.0)]))
    assert "No trial is feasible so far." in page.text
    assert "Front" in page.headings
    assert not [table for table in page.tables if table[0][0] == "trial"]
    assert "study.run" not in text
    assert page.table(["status"])[0]["trials"] == "2"


def test_a_study_whose_trials_have_just_begun(search_folder, written):
    folder = search_folder(points=[(0.7, 0.1)])
    shutil.rmtree(folder / "trials")
    page, _ = written(folder)
    assert "No trial is feasible so far." in page.text
    assert "Cost" not in page.headings


def test_a_running_study_counts_what_runs_and_reports_what_has_ended(search_folder, written):
    folder = search_folder(points=KNEE, running=5)
    page, _ = written(folder)
    assert "3 of 10 trials are on the front" in page.text
    finished, running = page.table(["status"])
    rows = [row for row in rows_of(folder).values() if row["status"] == "finished"]
    assert finished == {
        "status": "finished",
        "trials": "5",
        "epochs": str(sum(row["epochs_done"] for row in rows)),
        "trial-seconds": "60",
        "median seconds": "12.0",
    }
    assert (running["status"], running["trials"], running["epochs"]) == ("running", "5", "0")


def test_a_trial_that_has_no_epoch_yet_and_a_strategy_of_its_own(search_folder, written):
    folder = search_folder(points=KNEE)
    table = trials_table(folder, {"lr": float, "noise_rate": float, "epochs": int})
    row = dict.fromkeys(table.schema.names) | {"id": "new", "strategy": "scrub", "status": "running"}
    table.upsert([row | {"epochs_done": 0, "seconds": 0.0, "epochs": 3, "seed": 5}])
    page, _ = written(folder)
    assert [row["recipe"] for row in page.table(["rank"])] == ["noisy_label"]


@pytest.mark.slow
def test_several_studies_are_compared_ranked_and_their_attainment_drawn(search_folder, tmp_path, capsys, page_of):
    better = [(retain, forget / 4) for retain, forget in KNEE]
    search_folder("one", KNEE), search_folder("two", better, lambda row: row | {"strategy": "scrub"})
    out = tmp_path / "pages/both"
    options = ["one", "two", "one", "--studies", str(tmp_path / "studies"), "--to", str(out)]
    assert main(options) == 0
    assert f"{out}/report.{{html,md}}" in capsys.readouterr().out
    page, text = page_of((out / "report.html").read_text()), (out / "report.md").read_text()
    assert markdown_tables(text) == page.tables
    assert page.headings[:4] == ["2 unlearning studies", *page.headings[1:3], "Strategies"]
    assert page.headings[1:3] == ["The studies and their best feasible trials", "Attainment"]
    assert [heading for heading in page.headings if heading in ("one", "two")] == ["one", "two"]
    both = page.table(["study", "trials"])
    for row, points in zip(both, (KNEE, better), strict=True):
        volume = moocore.hypervolume(np.array([[forget, 1 - retain] for retain, forget in points[:4]]), ref=[1, 1])
        assert (row["trials"], float(row["hypervolume"])) == ("5", pytest.approx(volume, abs=6e-4))
        assert row["dice_gap"] == number(max(retain - forget for retain, forget in points[:4]))
    ranks = page.table(["rank"])
    assert [(row["rank"], row["recipe"], row["runs"]) for row in ranks] == [
        ("1", "scrub", "1"),
        ("2", "noisy_label", "1"),
    ]
    assert ranks[0]["dice gap"].startswith("0.810 [")
    tests = page.table(["metric", "first"])
    assert {(row["first"], row["second"], row["runs"]) for row in tests if row["metric"] == "forget_dice"} == {
        ("noisy_label", "scrub", "1")
    }
    assert "Of one run nothing can be tested." in text
    assert {row["difference"] for row in tests if row["metric"] == "forget_dice"} == {"0.050"}


@pytest.mark.slow
def test_studies_of_different_spaces_have_no_attainment(search_folder, written):
    page, _ = written(search_folder("one", KNEE), search_folder("two", KNEE, space="scrub"))
    assert "Attainment" not in page.headings


def test_a_suite_has_the_table_of_its_recipes(suite_folder, written):
    page, _ = written(suite_folder())
    assert page.headings[4:6] == ["Front", "Recipes"]
    assert [(row["recipe"], row["epochs"]) for row in page.table(["recipe", "epochs"])] == [
        *(("noisy_label", "2"), ("noisy_label", "4"), ("max_loss", "2"), ("max_loss", "4"))
    ]
    assert "0.758 / 0.061 / 0.696" in page.text
    assert "python -m study.run --space paper --horizons 2,4" in page.text


def test_a_suite_none_of_whose_trials_has_ended(suite_folder, written):
    running = {"status": "running", "feasible": False, "on_front": False}
    page, _ = written(suite_folder(trial=lambda row: row | running))
    assert "No trial is feasible so far." in page.text
    assert "Recipes" not in page.headings


def test_deletion_requests_have_their_table(search_folder, written):
    requests = [
        {"step": step, "method": method, "trial": "t2", "set": subset, "metric": "dice", "value": 0.5 + step / 100}
        for step in (1, 2)
        for method in ("sequential", "one-shot", "retrained")
        for subset in ("retain", "forget", "heldout", *(f"request-{number}" for number in range(1, step + 1)))
    ]
    page, _ = written(search_folder(points=KNEE, requests=requests))
    assert "Deletion requests" in page.headings
    rows = page.table(["step", "method"])
    assert [(row["step"], row["method"], row["retain"], row["request 2"]) for row in rows[2:4]] == [
        ("1", "retrained", "0.510", DASH),
        ("2", "sequential", "0.520", "0.520"),
    ]
    assert rows[0]["retention"] == number(0.51 / 0.88)


def test_evidence_is_told_of_references_and_trials_that_have_it(search_folder, written, found):
    folder = search_folder(points=KNEE, trial=lambda row: row | found if row["id"] == "t2" else row)
    references = references_table(folder)
    remembers = dict.fromkeys(EVIDENCE, 0.25) | {"evidence": "1", "remembers": True, "over_forgets": False}
    references.upsert([row | remembers | {"streisand": True} for row in references.rows if row["id"] == "baseline"])
    page, _ = written(folder)
    assert "Evidence: over-forgets." in page.text
    baseline, trial = page.table(["network", "verdict"])
    assert (baseline["network"], baseline["verdict"], baseline["forget Dice"]) == (
        "baseline",
        "remembers, exposed",
        "0.600",
    )
    assert (trial["network"], trial["verdict"], trial["forget Dice"]) == ("t2", "over-forgets", "0.100")
    assert trial["Relearning steps"] == "never"
    assert "Loss attack AUC" not in trial
    assert page.headings[-1] == "Appendix: attacks over all subjects"
    assert "2 v 2 subjects: only AUCs of 0, 0.25, 0.5, 0.75, 1 are possible" in page.text
    baseline, trial = page.table(["network", "Loss attack AUC"])
    assert trial["Loss attack AUC"] == "0.500 [0.500, 0.500]"
    assert (baseline["LiRA attack AUC"], trial["LiRA attack AUC"]) == ("0.250 [0.250, 0.250]", DASH)


PLACE = {"value": 0.1, "never_seen": [0.5, 0.75], "seen": [0.9, 0.9], "above_never_seen": [0, 3]}
PLACES = {"f1": {"dice": PLACE | {"above_seen": [0.5, 1], "likelihood_ratio": 0.0123}}}


def test_each_forget_subject_of_the_picks_is_placed(search_folder, written, found):
    folder = search_folder(points=KNEE, trial=lambda row: row | found)
    page, _ = written(folder)
    assert "above seen" not in page.text  # a study of before has no places
    pick = load_study(folder).best.id
    (folder / "evidence").mkdir()
    (folder / "evidence" / f"{pick}.json").write_text(json.dumps({"places": PLACES}))
    page, _ = written(folder)
    (row,) = page.table(["subject"])
    assert row == {
        **{"subject": "f1", "score": "Dice", "value": "0.100", "never seen": "0.500 to 0.750"},
        **{"seen": "0.900", "above never seen": "0 of 3", "above seen": "0.5 of 1"},
        "likelihood ratio": "0.012",
    }
    (folder / "evidence" / f"{pick}.json").write_text("{")
    with pytest.raises(StudyError, match="is damaged"):
        written(folder)


@pytest.mark.slow
def test_held_out_subjects_that_steer_are_told_too(search_folder, written, record):
    page, _ = written(search_folder(points=KNEE, split=record["split"] | {"steering": ["h3", "h4", "h5"]}))
    assert page.table(["set"])[-1] == {"set": "steering", "subjects": "3", "pseudonyms": "h3 h4 h5"}


NAMES = ["<img src=https://example.org/x onerror=alert(1)>", "![x](https://example.org/x.png)", "[a](https://b.org)"]
NAMES += ["**bold**", "</script><script>alert(1)</script>", "a|b", "`code`", "&lt;i&gt;", "_c_"]


def test_markup_in_names_is_shown_as_text(search_folder, written, record):
    def page(name, names):
        cohort = record["cohort"] | {"classes": ["background", *names]}
        split = record["split"] | {"forget": ["f1", names[0]]}
        return written(search_folder(name, KNEE, cohort=cohort, split=split))[0]

    plain, marked = page("plain", ["tissue"] * len(NAMES)), page("a<b>c", NAMES)
    assert [tag for tag, _ in marked.tags] == [tag for tag, _ in plain.tags]
    for name in NAMES:
        assert name in marked.text
    assert "Unlearning study a<b>c" in marked.headings
    assert marked.table(["set"])[1]["pseudonyms"] == f"f1 {NAMES[0]}"


def test_the_page_loads_nothing_from_outside(search_folder, written, tmp_path):
    page, _ = written(search_folder(points=KNEE))
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "img", "base", "object", "embed", "a"}
    assert not [given for _, given in page.tags if {"src", "href", "srcset"} & set(given)]
    (policy,) = (given["content"] for _, given in page.tags if given.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules.pop("default-src") == "'none'"
    assert {word for words in rules.values() for word in words.split()} <= {"'unsafe-inline'", "data:", "blob:"}


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_without_a_network_draws_every_figure(search_folder, written, tmp_path):
    page, _ = written(search_folder(points=KNEE))
    drawn = sum(given.get("class") == "plotly-graph-div" for _, given in page.tags)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium: {error}")
        context = browser.new_context(offline=True)
        opened, problems, asked = context.new_page(), [], []
        opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto((tmp_path / "out/report.html").as_uri())
        for number in range(drawn):
            opened.locator(".plotly-graph-div").nth(number).locator(".main-svg").first.wait_for(timeout=10_000)
        assert opened.locator("h1").inner_text() == "Unlearning study search"
        browser.close()
    assert (drawn, problems) == (3, [])
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}


def test_an_unknown_study_exits_with_2_and_names_those_that_are_there(search_folder, tmp_path, capsys):
    search_folder("one", KNEE), search_folder("two", KNEE)
    where = ["--studies", str(tmp_path / "studies")]
    assert main(["one", "three", *where]) == 2
    said = capsys.readouterr()
    assert said.err == f"error: no study 'three' in {tmp_path / 'studies'}; there are one, two\n"
    assert said.out == ""
    (tmp_path / "studies/two/study.json").write_text("{")
    assert main(["two", *where]) == 2
    assert f"{tmp_path / 'studies/two/study.json'} is damaged" in capsys.readouterr().err
    assert main(where) == 2
    assert "name a study of" in capsys.readouterr().err
    assert not list((tmp_path / "studies").rglob("report.*"))


def test_one_study_is_reported_into_its_own_folder(search_folder, tmp_path, capsys):
    folder = search_folder("one", KNEE)
    assert main(["one", "--studies", str(tmp_path / "studies")]) == 0
    assert {path.name for path in folder.glob("report.*")} == {"report.html", "report.md"}
    assert json.loads((folder / "study.json").read_text())["name"] == "one"
