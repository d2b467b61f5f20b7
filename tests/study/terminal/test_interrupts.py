import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.terminal import interrupts
from study.terminal.interrupts import Interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers():
    """Each test leaves the signals as they were, and says so."""
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    after = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)
    assert after == before


def send(number):
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python hears it between two steps


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_is_told_and_the_second_raises(number, code):
    told = []
    with Interrupts() as caught:
        caught.told = lambda: told.append("save")
        assert (caught.caught, told) == (None, [])
        send(number)
        assert (caught.caught, caught.exit_code, told) == (number, code, ["save"])
        with pytest.raises(KeyboardInterrupt):
            send(number)
        assert told == ["save"]
        assert caught.exit_code == code


def test_a_signal_while_nothing_can_be_saved_raises_at_once():
    with Interrupts() as caught:
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
        assert caught.exit_code == 143


def test_a_signal_after_the_trials_raises_though_one_was_told_before():
    with Interrupts() as caught:
        caught.told = lambda: None
        send(signal.SIGTERM)
        caught.told = None
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert caught.exit_code == 130


def test_without_a_signal_an_interrupt_counts_as_ctrl_c():
    with Interrupts() as caught:
        pass
    assert (caught.caught, caught.exit_code) == (None, 130)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_handlers_before_are_back_afterwards_even_after_an_error(number):
    heard = []
    before = signal.signal(number, lambda *_: heard.append("outer"))
    with pytest.raises(KeyboardInterrupt), Interrupts():
        send(number)
    send(number)
    assert heard == ["outer"]
    signal.signal(number, before)


def test_it_listens_again_after_a_library_has_taken_the_signals():
    told, stolen = [], []
    with Interrupts() as caught:
        caught.told = lambda: told.append("save")
        for number in SIGNALS:
            signal.signal(number, lambda *_: stolen.append("library"))
        send(signal.SIGTERM)
        caught.listen()
        send(signal.SIGTERM)
    assert (told, stolen, caught.caught) == (["save"], ["library"], signal.SIGTERM)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_that_is_told_from_outside_saves_and_ends_with_the_shells_code(number, code):
    program = (
        "import sys, time\nfrom study.terminal.interrupts import Interrupts\nwith Interrupts() as caught:\n"
        "    caught.told = lambda: print('saving', flush=True)\n    print('ready', flush=True)\n"
        "    while not caught.caught: time.sleep(0.01)\n    sys.exit(caught.exit_code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(interrupts.__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=10)[0] == "saving\n"
    assert process.returncode == code
