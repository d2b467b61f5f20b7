import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from study.export import main as export
from study.records.files import write_json
from study.records.study_record import read_record
from study.records.tables import study_tables, trials_table
from study.run import parse
from trainables.evaluation import evaluate
from trainables.med3d import load_state, load_weights, med3d

FILES = {"model.safetensors", "model.pth", "preprocessing.json", "README.md", "report.json", "report.html"}


@pytest.fixture
def exported(done, tmp_path, no_ray):
    """The folder of the study's best trial, exported: its weights were kept."""
    assert export(["--study", "s", "--studies", str(done.studies), "--to", str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def strict(path):
    """JSON without the words NaN and Infinity that Python would take."""
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def dice_of(network, done):
    """Dice of every scan of the cohort, from the files of its cache."""
    (cohort,) = (done.cache / "cohorts").glob(done.record["cohort"]["digest"] + "*")
    images, labels = (torch.tensor(np.load(cohort / f"{name}.npy")) for name in ("images", "labels"))
    found = evaluate(network, images, labels, {"one": tuple((scan,) for scan in range(len(images)))})
    return sorted(found["one_dice"])


def recorded(done, trial):
    """The Dice of the trial's subjects, whatever their set, and the means of the sets."""
    rows = done.table("subjects").query("id == @trial")
    means = rows.groupby("set").dice.mean()
    for subset in ("retain", "forget", "heldout"):
        assert done.trials.loc[trial, f"{subset}_dice"] == pytest.approx(means[subset])
    return sorted(rows.dice)


def refused(capsys, done, *options):
    """The one line with which an export is refused."""
    assert export(["--study", "s", "--studies", str(done.studies), *map(str, options)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_both_files_load_into_the_network_and_give_the_recorded_dice(done, exported):
    assert {path.name for path in exported.iterdir()} == FILES
    dice = recorded(done, done.front)
    network = med3d(10, 3)
    assert load_weights(network, exported / "model.pth") == ()
    assert dice_of(network, done) == pytest.approx(dice, abs=1e-4)
    network = med3d(10, 3)
    state = load_file(exported / "model.safetensors")
    assert load_state(network, state, "model.safetensors") == ()
    assert dice_of(network, done) == pytest.approx(dice, abs=1e-4)
    content = torch.load(exported / "model.pth", weights_only=True)
    assert list(content) == ["state_dict"]
    assert {f"module.{name}" for name in state} == set(content["state_dict"])
    assert {"conv1.weight", "layer4.0.conv1.weight", "conv_seg.6.weight"} <= set(state)


def test_a_script_that_knows_medicalnets_layout_only_finds_the_same_dice(done, exported):
    (cohort,) = (done.cache / "cohorts").glob(done.record["cohort"]["digest"] + "*")
    script = Path(__file__).parents[1] / "medicalnet.py"
    command = [sys.executable, script, exported / "model.pth", cohort / "images.npy", cohort / "labels.npy"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert sorted(map(float, output.split())) == pytest.approx(recorded(done, done.front), abs=1e-4)


def test_the_report_is_strict_json_with_the_records_numbers(done, exported):
    report, row = strict(exported / "report.json"), done.trials.loc[done.front]
    assert (report["study"], report["trial"], report["strategy"], report["seed"]) == (
        "s",
        done.front,
        "noisy_label",
        0,
    )
    assert report["knobs"] == {name: row[name] for name in ("noise_rate", "lr", "forget_weight", "epochs")}
    for name in ("retain_dice", "forget_dice", "heldout_dice", "dice_gap", "retention"):
        assert report["metrics"][name]["mean"] == pytest.approx(row[name], abs=1e-6)
        assert report["metrics"][name]["low"] <= row[name] + 1e-9 <= report["metrics"][name]["high"] + 2e-9
    assert report["verdict"] == "no evidence was gathered"
    assert list(report["references"]) == ["baseline", "retrained", "retrained-1", "retrained-2"]
    assert (report["selection"], report["subjects"]) == (done.record["selection"], done.record["split"])


@pytest.mark.slow
def test_the_report_has_the_evidence_and_its_verdict(examined, tmp_path):
    options = ("--despite", "remembers", "--reason", "for a test")  # its three epochs may well leave a memory
    assert export(["--study", "s", "--studies", str(examined.studies), "--to", str(tmp_path / "out"), *options]) == 0
    report, row = strict(tmp_path / "out/report.json"), examined.trials.loc[examined.front]
    assert (report["verdict"], report["reasons"]) == (row.verdict, row.reasons)
    assert report["references"]["baseline"]["evidence"]["verdict"] == "remembers"
    assert report["references"]["baseline"]["evidence"]["pooled_auc"] is None


def test_hashes_are_those_of_the_files(done, exported):
    hashes = strict(exported / "report.json")["hashes"]
    for name in ("model.safetensors", "model.pth"):
        assert hashes[name] == hashlib.sha256((exported / name).read_bytes()).hexdigest()
        assert hashes[name] in (exported / "report.html").read_text()
    assert hashes["cohort"] == done.record["cohort"]["digest"]


def test_the_settings_of_preprocessing_and_the_card_tell_what_the_network_needs(done, exported):
    found, card = strict(exported / "preprocessing.json"), (exported / "README.md").read_text()
    assert (found["shape"], found["spacing_mm"]) == ([16, 16, 16], [1.0, 1.0, 1.0])
    assert found["network"] == {"name": "Med3D", "depth": 10, "classes": done.record["cohort"]["classes"]}
    assert done.front in card
    assert f"retention | {done.trials.retention[done.front]:.3f} [" in card
    assert strict(exported / "report.json")["command"] in card
    assert all(warning in card for warning in strict(exported / "report.json")["warnings"])


def test_nobody_is_named_in_an_export(done, exported):
    for path in exported.iterdir():
        assert not [name for name in done.people if name.encode() in path.read_bytes()], path
    assert all(who in (exported / "report.html").read_text() for who in done.record["split"]["forget"])


def test_the_code_in_the_card_loads_the_encoder_in_monai(exported, monkeypatch):
    code = (exported / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert "monai" in code
    monkeypatch.chdir(exported)
    found = {}
    exec(code, found)
    state = load_file(exported / "model.safetensors")
    assert torch.equal(found["encoder"].state_dict()["layer4.0.conv1.weight"], state["layer4.0.conv1.weight"])


def test_what_cannot_be_exported_is_refused_and_nothing_appears(done, tmp_path, capsys):
    out = tmp_path / "out"
    line = refused(capsys, done, "--trial", done.other, "--to", out)
    assert "infeasible (misses retention>=0.81)" in line
    assert "--allow-infeasible" in line
    line = refused(capsys, done, "--trial", "nobody", "--to", out)
    assert "no finished trial 'nobody'" in line
    assert done.front in line
    (tmp_path / "there").mkdir()
    assert "exists already" in refused(capsys, done, "--to", tmp_path / "there")
    assert "no study 'gone'" in refused(capsys, done, "--study", "gone", "--to", out)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert not list((tmp_path / "there").iterdir())


def test_who_is_remembered_is_shipped_only_for_a_reason_that_the_reports_tell(done, tmp_path, capsys):
    mine = done.copied(tmp_path)
    table = study_tables(mine.folder, read_record(mine.folder))["trials"]
    told = {"evidence": "1", "verdict": "remembers", "reasons": "Loss of s-1 <half>"}
    table.upsert({**row, **told, "heldout_retention": 0.5} for row in table.rows)
    line = refused(capsys, mine, "--to", tmp_path / "out")
    assert "remembers who was to be erased: Loss of s-1 <half>" in line
    assert "--despite remembers --reason TEXT" in line
    assert "say why" in refused(capsys, mine, "--despite", "remembers", "--to", tmp_path / "out")
    options = ["--study", "s", "--studies", str(mine.studies), "--to", str(tmp_path / "out")]
    assert export([*options, "--despite", "remembers", "--reason", "For an audit"]) == 0
    assert "still remembers" in capsys.readouterr().out
    card, report = (tmp_path / "out/README.md").read_text(), strict(tmp_path / "out/report.json")
    for words in ("For an audit", "still remembers", "Held-out Dice fell to 0.500", "**remembers**"):
        assert words in card
    assert "were erased" not in card
    assert (report["despite"], report["verdict"]) == ("For an audit", "remembers")


def test_an_infeasible_trial_is_told_what_it_misses(done, tmp_path, capsys):
    mine = done.copied(tmp_path)
    constraints = ["retention>=0.81", "forget_dice<=0.001", "seconds<=600"]
    write_json(mine.folder / "study.json", {**mine.record, "constraints": constraints})
    table = trials_table(mine.folder, read_record(mine.folder).knobs)
    table.upsert({**row, "retention": 0.5, "forget_dice": 0.5} for row in table.rows)
    line = refused(capsys, mine, "--trial", done.other, "--to", tmp_path / "out")
    assert "infeasible (misses retention>=0.81, forget_dice<=0.001);" in line
    table.upsert({**row, "diverged": True} for row in table.rows)
    assert "infeasible (diverged);" in refused(capsys, mine, "--trial", done.other, "--to", tmp_path / "out")


def test_the_command_says_all_that_the_trial_depends_on(done, tmp_path):
    mine = done.copied(tmp_path)
    changes = {"constraint": ["seconds<=600", "forget_dice<=0.9"], "objective": "front", "evidence": False}
    changes |= {"sampler": "nsga2", "seed": 3, "baseline_lr": 0.002, "warm_start": "gone", "verbose": True}
    record = {**mine.record, "settings": {**mine.record["settings"], **changes}}
    constraints = ["retention>=0.81", *changes["constraint"]]
    write_json(mine.folder / "study.json", {**record, "constraints": constraints})
    assert export(["--study", "s", "--studies", str(mine.studies), "--to", str(tmp_path / "out")]) == 0
    report = strict(tmp_path / "out/report.json")
    assert report["constraints"] == constraints
    words = shlex.split(report["command"])
    found = parse(words[words.index("study.run") + 1 :])
    row = done.trials.loc[done.front]
    assert (found.space, found.trials, found.evidence, found.seed) == ("noisy_label", 1, False, 3)
    assert (found.constraint, found.objective, found.baseline_lr) == (tuple(changes["constraint"]), "front", 0.002)
    assert dict(word.split("=") for word in found.knobs) == {
        name: str(row[name]) for name in ("noise_rate", "lr", "forget_weight", "epochs")
    }
    assert (found.warm_start, found.verbose, found.name) == ("", False, "")


def test_an_unfinished_trial_and_a_study_without_a_feasible_one_are_refused(done, tmp_path, capsys):
    mine = done.copied(tmp_path)
    table = trials_table(mine.folder, read_record(mine.folder).knobs)
    table.upsert({**row, "feasible": False} for row in table.rows)
    table.upsert({**row, "status": "running"} for row in table.rows if row["id"] == mine.front)
    out = tmp_path / "out"
    assert f"no finished trial '{done.front}'" in refused(capsys, mine, "--trial", done.front, "--to", out)
    assert "no trial is feasible" in refused(capsys, mine, "--to", out)
    assert not out.exists()


def test_a_trial_that_was_not_kept_is_computed_again_and_is_the_recorded_one(done, tmp_path):
    out = tmp_path / "out"
    options = ["--trial", done.other, "--allow-infeasible", "--to", str(out)]
    assert export(["--study", "s", "--studies", str(done.studies), *options]) == 0
    network = med3d(10, 3)
    load_weights(network, out / "model.pth")
    assert dice_of(network, done) == pytest.approx(recorded(done, done.other), abs=1e-6)
    report = strict(out / "report.json")
    assert (report["feasible"], report["verdict"]) == (False, "no evidence was gathered")
    assert "infeasible" in (out / "report.html").read_text()
    assert not list((done.folder / "front").glob(done.other))


@pytest.mark.soak
def test_the_command_of_the_report_runs_the_trial_again(done, exported, run_of, tmp_path):
    command = shlex.split(strict(exported / "report.json")["command"], comments=True)
    assert command[:3] == ["python", "-m", "study.run"]
    code, output = run_of(done.cache, *command[3:], "--studies", str(tmp_path / "elsewhere"), "--no-evidence")
    assert code == 0, output
    assert "fitted" not in output  # the very same references
    (table,) = (tmp_path / "elsewhere").glob("*/trials")
    again, before = pd.read_parquet(table).set_index("id"), done.trials.loc[done.front]
    assert again.index.tolist() == [done.front]
    metrics = [f"{subset}_{metric}" for subset in ("retain", "forget", "heldout") for metric in ("dice", "mae")]
    for name in (*metrics, "dice_gap", "retention", "retrain_gap", "unseen_gap"):
        assert again[name][done.front] == pytest.approx(before[name], abs=1e-3)  # other numbers of threads
