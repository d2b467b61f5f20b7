import io
import re
from contextlib import suppress

import pytest
from rich.console import Console

from study.terminal.live import StudyView

RESULT = {"epoch": 3, "retain_dice": 0.8812, "forget_dice": float("nan"), "dice_gap": 0.5149, "seconds": 1.26}
ROW = "t1  epoch   3/20  retain 0.881  forget nan  gap +0.515  1.3 s/epoch"
TIME = r"\d\d:\d\d:\d\d"


def work(view, end):
    advance = view.begin("trials", 8, done=2)
    view.line("baseline   fitted")
    view.running("t1", RESULT, 20)
    if end:
        view.ended("t1", "t1  feasible", "best feasible: t1")
    advance(3)


def shown(end=False, **options):
    file = io.StringIO()
    with StudyView(Console(file=file, width=100, **options)) as view:
        work(view, end)
    return file.getvalue()


def frames(text):
    """What a terminal shows, frame by frame, without its control sequences."""
    return [" ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame).split()) for frame in text.split("\x1b[2K")]


def test_outside_a_terminal_every_finished_piece_is_one_plain_line():
    lines = shown(end=True).splitlines()
    assert [re.sub(TIME, "time", line) for line in lines] == ["time baseline   fitted", "time t1  feasible"]


def test_a_line_is_never_broken_however_long(capsys):
    file = io.StringIO()
    StudyView(Console(file=file, width=40)).line("word " * 60)
    assert file.getvalue().count("\n") == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("end", [False, True])
def test_a_terminal_shows_the_bar_running_trials_and_the_note(end):
    text = shown(end, force_terminal=True)
    assert "\x1b[?25l" in text  # the cursor is hidden while it lives
    assert "\x1b[?25h" in text  # and comes back
    assert "2/8" in next(frame for frame in frames(text) if "trials" in frame)  # what was done before
    last = next(frame for frame in reversed(frames(text)) if "trials" in frame)
    assert re.search(r"trials .* 3/8 \d:\d\d:\d\d left", last)
    assert (" ".join(ROW.split()) in last) == (not end)
    assert ("best feasible: t1" in last) == end
    assert ("t1 feasible" in " ".join(frames(text))) == end


def test_a_view_gives_the_terminal_back_when_the_study_fails():
    file = io.StringIO()
    with suppress(RuntimeError), StudyView(Console(file=file, force_terminal=True)) as view:
        work(view, end=False)
        raise RuntimeError
    assert file.getvalue().rfind("\x1b[?25h") > file.getvalue().rfind("\x1b[?25l") >= 0
