"""Finished studies as version 0.1 left them: every command goes on reading them, and says what is damaged in one."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis import compare, report
from study import export, run, status, sync
from study.networks.references import fit_digests, reference_digests, reference_fits
from study.planning.plan import make_plan
from study.records.failure import StudyError
from study.records.reading import load_study
from study.records.study_record import FORMAT, ReferenceRecord, read_record, recorded_settings
from study.records.table import JOURNAL
from study.records.trials import FINISHED
from trainables.cache_entries import caching
from trainables.cohorts.cache import cache_dir

DATA = Path(__file__).parents[1] / "data/studies-of-0.1"
SEARCH, SUITE = "noisy_label-phantom-01faf8", "paper-phantom-5a8ac5"


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A folder with copies of both, and the cache with the key of their pseudonyms."""
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/pseudonym.key").write_bytes(bytes.fromhex((DATA / "pseudonym.key.hex").read_text()))
    for name in (SEARCH, SUITE):
        shutil.copytree(DATA / name, tmp_path / "studies" / name)
        (tmp_path / "studies" / name / ".owner").touch()
    return tmp_path / "studies"


def test_their_tables_and_records_are_read(studies):
    search, suite = load_study(studies / SEARCH), load_study(studies / SUITE)
    assert (len(search.trials), len(search.history), search.planned) == (4, 18, 4)
    assert dict(zip(search.trials["id"], search.trials["dice_gap"].round(3), strict=True)) == {
        "4cedd237a952": 0.017,
        "7e7047580443": -0.005,
        "861d9f425c64": -0.002,
        "c1b79b24db78": 0.006,
    }
    assert search.trials["evidence"].notna().all()
    assert search.trials["relearn_steps"].tolist() == [0, 0, 3, 1]
    assert set(suite.trials["strategy"]) == {
        *("noisy_label", "retain_label", "max_loss", "random_encoder", "fix_decoder"),
    }


def test_they_are_listed_and_shown(studies, capsys):
    assert status.main(["--studies", str(studies)]) == 0
    listed = capsys.readouterr().out
    assert SEARCH in listed
    assert SUITE in listed
    assert "4/4" in listed
    assert "5/5" in listed
    assert status.main([SEARCH, "--studies", str(studies)]) == 0
    assert "4cedd237a952" in capsys.readouterr().out


def test_they_are_reported_and_compared(studies, capsys):
    for name in (SEARCH, SUITE):
        assert report.main([name, "--studies", str(studies)]) == 0
    text = (studies / SEARCH / "report.md").read_text()
    assert "4cedd237a952" in text
    assert "## Evidence" in text
    assert "## Deletion requests" in text
    assert "fix_decoder" in (studies / SUITE / "report.md").read_text()
    assert compare.main([SEARCH, SUITE, "--studies", str(studies)]) == 0
    assert "noisy_label" in capsys.readouterr().out


def test_they_are_sent_to_mlflow(studies, store, runs_in):
    assert sync.main([SEARCH, "--studies", str(studies), "--tracking-uri", store]) == 0
    runs = runs_in(store, "noisy_label-phantom")
    assert {"study", "baseline", "retrained", "retrained-1", "4cedd237a952", "861d9f425c64"} <= set(runs)
    assert runs["4cedd237a952"].data.metrics["gap/dice"] == pytest.approx(0.017, abs=5e-4)
    assert runs["4cedd237a952"].data.metrics["evidence/relearn_steps"] >= 0


@pytest.mark.slow
def test_one_is_resumed_and_extended(studies, run_of, tmp_path):
    """Its references are fitted anew, as its cache is not here; on another processor they have other digests."""
    folder = studies / SEARCH
    plan = make_plan(recorded_settings(folder))
    record, digests = read_record(folder), fit_digests(plan, reference_fits(plan))
    known = {name: replace(record.references[name], digest=digest) for name, digest in digests.items()}
    replace(record, references=known).write(folder)
    before = load_study(folder).trials
    options = ("--trials", "5", "--no-evidence", "--concurrent", "1", "--cpus-per-trial", "1")
    code, output = run_of(tmp_path / "cache", "--resume", SEARCH, "--studies", str(studies), *options)
    assert code == 0, output
    after = load_study(folder)
    assert after.format == FORMAT
    assert (len(after.trials), after.planned, after.name) == (5, 5, SEARCH)
    unchanged = ["id", "status", "lr", "retain_dice", "forget_dice", "feasible"]
    pd.testing.assert_frame_equal(after.trials[unchanged].head(4), before[unchanged])
    assert after.trials["status"].eq(FINISHED).all()


@pytest.mark.slow
def test_references_of_another_processor_are_the_studys_as_long_as_the_cache_has_them(studies):
    plan = make_plan(recorded_settings(studies / SEARCH))
    fits = reference_fits(plan)
    recorded = {name: ReferenceRecord(digest, 0, {}) for name, digest in fit_digests(plan, fits).items()}
    recorded["retrained"] = ReferenceRecord("0123456789ab", 0, {})
    with pytest.raises(StudyError, match="another baseline: retrained cannot be made again"):
        reference_digests(plan, fits, recorded)
    with caching(cache_dir() / "references/0123456789ab") as entry:
        (entry / "reference.json").write_text("{}")
    digests = reference_digests(plan, fits, recorded)
    assert digests == {name: reference.digest for name, reference in recorded.items()}


COMMANDS = {
    "status": lambda studies: status.main([SEARCH, "--studies", str(studies)]),
    "report": lambda studies: report.main([SEARCH, "--studies", str(studies)]),
    "compare": lambda studies: compare.main([SUITE, SEARCH, "--studies", str(studies)]),
    "export": lambda studies: export.main(["--study", SEARCH, "--studies", str(studies), "--to", str(studies / "x")]),
    "sync": lambda studies: sync.main([SEARCH, "--studies", str(studies)]),
    "run": lambda studies: run.main(["--resume", SEARCH, "--studies", str(studies)]),
}


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=[pytest.mark.slow] if name == "run" else []) for name in COMMANDS]
)
def test_a_damaged_table_is_one_message_that_names_the_file_and_what_is_left(studies, command, capsys):
    file = studies / SEARCH / "trials/00000001.parquet"
    (studies / SEARCH / "trials" / JOURNAL).write_text("")
    file.write_bytes(file.read_bytes()[:-100])
    assert COMMANDS[command](studies) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"error: {file}: damaged (")
    assert said.count("error:") == 1
    assert "0 rows of the table 'trials' can still be read" in said
    assert "Traceback" not in said


def test_a_line_cut_by_a_crash_is_no_damage(studies, capsys):
    rows = pd.read_parquet(studies / SEARCH / "trials")
    (studies / SEARCH / "trials" / JOURNAL).write_text(rows.iloc[0].to_json()[:40])
    assert status.main([SEARCH, "--studies", str(studies)]) == 0
    assert "4 of 4 trials" in capsys.readouterr().out
