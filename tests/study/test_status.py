import codecs
import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import study
from study.records.files import write_json
from study.records.metrics import METRICS
from study.records.reading import load_study
from study.records.settings import StudySettings
from study.records.tables import history_table, trials_table
from study.run import parse
from study.status import main, running

KNOBS = {"lr": float, "epochs": int}
(STORED,) = (Path(__file__).parents[1] / "data/studies-of-0.1").glob("noisy_label-*/study.json")
RECORD = json.loads(STORED.read_text()) | {
    "name": "s",
    "space": "noisy_label",
    "settings": StudySettings(space="noisy_label", trials=8).plain(),
    "knobs": {name: kind.__name__ for name, kind in KNOBS.items()},
    "domains": {},
    "planned": 8,
    "constraints": ["retention>=0.9", "seconds<=600"],
    "references": {"baseline": {"digest": "b", "seed": 0, "retain_dice": 0.8}},
}


def trial(id, retain=None, forget=None, status="finished", **changes):
    row = {"id": id, "strategy": "noisy_label", "seed": 0, "lr": 1e-3, "epochs": 10, "status": status}
    row |= {"epochs_done": 0, "seconds": 0.0}
    if retain is not None:
        row |= dict.fromkeys(METRICS, 0.5) | {"diverged": False, "feasible": retain >= 0.72, "on_front": False}
        row |= {"retain_dice": retain, "forget_dice": forget, "dice_gap": retain - forget, "retention": retain / 0.8}
        row |= {"epochs_done": 10, "seconds": 120.0}
    return row | changes


def epoch(id, number, retain=0.5, forget=0.25):
    metrics = dict.fromkeys(METRICS, 0.5) | {"retain_dice": retain, "forget_dice": forget}
    return {"id": id, "epoch": number, **metrics, "loss": 1.0, "seconds": 2.5}


ENDED = [
    trial("good", 0.75, 0.25, on_front=True),
    trial("best", 0.74, 0.09, on_front=True),
    trial("low", 0.5, 0.0, seconds=60.0),
    trial("slow", 0.73, 0.5, seconds=600.0),
]
UNDER_WAY = [trial("first", status="running"), trial("second", status="running")]


@pytest.fixture
def write(tmp_path):
    """Writes a study as its driver leaves it: the folder has had an owner."""

    def write(*rows, history=(), name="s", **changes):
        folder = tmp_path / "studies" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".owner").write_text("process 1 on nowhere")
        write_json(folder / "study.json", RECORD | {"name": name} | changes)
        if rows:
            trials_table(folder, KNOBS).upsert(rows)
        if history:
            history_table(folder).upsert(history)
        return folder

    return write


@pytest.fixture
def said(tmp_path, capsys, monkeypatch):
    """What the command prints of a study, or of all."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*names):
        assert main([*names, "--studies", str(tmp_path / "studies")]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return run


def lines_of(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_while_references_are_fitted_there_are_no_records_yet(tmp_path, holder, said):
    process = holder(tmp_path / "studies/s")
    line = f"s: the references are being fitted by process {process.pid} on {os.uname().nodename}"
    assert said("s").splitlines() == [line]
    assert ["s", "fitting", "references"] in [line.split() for line in said().splitlines()]


def test_a_running_study(write, holder, said):
    history = [epoch("first", number, 0.1 * number) for number in range(1, 5)]
    folder = write(*ENDED, *UNDER_WAY, history=[*history, epoch("second", 1, 0.875, 0.0625), epoch("good", 10)])
    process = holder(folder)
    lines = lines_of(said("s"))
    assert lines[0] == f"s running by process {process.pid} on {os.uname().nodename}"
    assert lines[1] == "maximise the Dice gap where retention>=0.9 and seconds<=600"
    assert lines[2].endswith("4 of 8 trials (4 finished, 2 running)")
    assert "about 4 min left for the trials" in lines  # 4 trials of 120 s (the median), two at a time
    assert [line.partition(" first ")[2] for line in lines if " first " in line] == [
        "epoch 4/10 retain 0.400 forget 0.250 2.5 s/epoch"
    ]
    assert any(line.endswith("second epoch 1/10 retain 0.875 forget 0.062 2.5 s/epoch") for line in lines)
    assert any(line.startswith("best feasible best gap +0.650 retain 0.740 forget 0.090") for line in lines)
    assert "Pareto front: 2 of 6 trials" in lines
    assert [line.split()[0] for line in lines[-2:]] == ["best", "good"]


def test_the_bars_are_as_long_as_what_is_done(write, holder, said):
    folder = write(*ENDED, UNDER_WAY[0], history=[epoch("first", 5)])
    holder(folder)
    bars = [line for line in said("s").splitlines() if "━" in line]
    assert len(bars) == 2
    for bar in bars:  # 4 of 8 trials, 5 of 10 epochs; without colours what is left is blank
        assert bar.count("━") + bar.count("╸") == 12


def test_the_newest_epoch_of_every_running_trial(write):
    history = [epoch(id, number) for number in (3, 1, 2) for id in ("second", "first", "good")][:-1]
    rows = running(load_study(write(*ENDED, *UNDER_WAY, trial("none", status="running"), history=history)))
    assert {(row["id"], row["epoch"], row["epochs"]) for row in rows} == {("first", 3, 10), ("second", 3, 10)}


@pytest.mark.parametrize(
    ("rows", "held", "state"),
    [
        (ENDED, False, "interrupted (--resume continues it)"),
        ([*ENDED, *UNDER_WAY], False, "interrupted (--resume continues it)"),
        ([], False, "interrupted (--resume continues it)"),
        ([], True, "running"),
        ([*ENDED, *(trial(f"t{number}", 0.1, 0.1) for number in range(4))], False, "complete"),
        ([*ENDED, *(trial(f"t{number}", status="failed") for number in range(4))], False, "complete"),
        (
            [*ENDED, *(trial(f"t{number}", status="pruned") for number in range(4))],
            True,
            "finishing (evidence, pages)",
        ),
    ],
)
def test_the_state_of_a_study(rows, held, state, write, holder, said):
    folder = write(*rows)
    if held:
        holder(folder)
    first = lines_of(said("s"))[0]
    assert first.removeprefix("s ").partition(" by process")[0] == state
    assert (" by process" in first) == held
    (line,) = (line for line in lines_of(said()) if line.startswith("s "))
    assert line.startswith(f"s {state} ")


def test_an_interrupted_study_tells_no_time_that_is_left(write, said):
    write(*ENDED, *UNDER_WAY)
    assert "left" not in said("s")


def test_no_feasible_trial_and_no_front(write, said):
    write(trial("low", 0.5, 0.0))
    lines = lines_of(said("s"))
    assert lines[-1] == "no feasible trial yet"
    assert lines[2].endswith("1 of 8 trials (1 finished)")


@pytest.mark.parametrize("count", [8, 6])
def test_a_study_is_complete_with_the_trials_that_it_planned(count, write, said):
    write(*ENDED, planned=count)
    assert f"4 of {count} trials" in said("s")
    write(*(trial(f"t{number}", 0.1, 0.1) for number in range(2)), planned=count)
    assert ("complete" in said("s")) == (count == 6)


def test_all_studies_are_listed_the_newest_first_and_damage_is_told(write, holder, said, tmp_path):
    for age, name in enumerate(("new", "[old]", "damaged", "oldest")):
        folder = write(*ENDED, name=name)
        os.utime(folder / ".owner", (1e9 - age, 1e9 - age))
    (tmp_path / "studies/damaged/study.json").write_text("{")
    (tmp_path / "studies/no study").mkdir()
    lines = lines_of(said())
    assert lines[0] == "study state trials on the front best gap"
    assert [line.split()[0] for line in lines[2:]] == ["new", "[old]", "damaged", "oldest"]
    assert lines[2] == "new interrupted (--resume continues it) 4/8 2 +0.650"
    assert "study.json is damaged" in lines[4]
    assert lines[5].endswith("4/8 2 +0.650")


def test_a_folder_without_studies(said, tmp_path):
    assert said() == f"no study in {tmp_path / 'studies'}\n"


def test_an_unknown_study_exits_with_2_and_names_those_that_are_there(write, tmp_path, capsys):
    write(*ENDED, name="a"), write(*ENDED, name="b")
    for options in ([], ["--watch"]):
        assert main(["c", "--studies", str(tmp_path / "studies"), *options]) == 2
        said = capsys.readouterr()
        assert said.err == f"error: no study 'c' in {tmp_path / 'studies'}; there are a, b\n"


class Watched:
    """`study.status --watch` in a terminal of its own."""

    def __init__(self, *arguments):
        self._mine, theirs = pty.openpty()
        root = Path(study.__file__).parents[1]
        environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "120", "LINES": "50", "TERM": "xterm"}
        command = [sys.executable, "-m", "study.status", *arguments, "--watch"]
        # what runs in the background ignores Ctrl-C, and hands that on
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment, cwd=root
        )
        signal.signal(signal.SIGINT, before)
        os.close(theirs)
        self.text, self._decoder = "", codecs.getincrementaldecoder("utf-8")()  # a read may cut a character

    def until(self, pattern, seconds=30):
        """Reads on until the text has it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < end, self.text
            if select.select([self._mine], [], [], 0.1)[0]:
                self.text += self._decoder.decode(os.read(self._mine, 4096))

    def ends(self, seconds=30):
        """Its exit code; what it writes meanwhile is read, or it could not end."""
        end = time.monotonic() + seconds
        with contextlib.suppress(OSError):  # the other side has closed
            while time.monotonic() < end:
                if select.select([self._mine], [], [], 0.1)[0]:
                    self.text += self._decoder.decode(os.read(self._mine, 4096))
        return self.process.wait(1)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        os.close(self._mine)


@pytest.fixture
def watched():
    started = []
    yield lambda *arguments: started.append(Watched(*arguments)) or started[-1]
    for one in started:
        one.close()


@pytest.mark.slow
def test_watching_shows_what_is_new_and_ends_with_0_on_ctrl_c(write, watched, tmp_path):
    folder = write(*ENDED)
    view = watched("s", "--studies", str(tmp_path / "studies"))
    view.until("4 of 8 trials")
    trials_table(folder, KNOBS).upsert([trial("fifth", 0.75, 0.1)])
    view.until("5 of 8 trials")
    view.process.send_signal(signal.SIGINT)
    assert view.ends() == 0
    assert view.process.stderr.read() == b""


def test_the_options_of_a_study_are_printed_as_a_file_to_run_it_again(done, capsys, tmp_path):
    assert main(["s", "--studies", str(done.studies), "--config"]) == 0
    (tmp_path / "study.yaml").write_text(capsys.readouterr().out)
    before = StudySettings.from_plain(done.record["settings"])
    again = parse(["--config", str(tmp_path / "study.yaml")])
    assert replace(again, name="s", studies=before.studies) == before
