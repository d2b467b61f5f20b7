import os
import threading
from contextlib import contextmanager

import pytest
from filelock import FileLock

from study.recording import ownership
from study.recording.ownership import alone, owner
from study.records.failure import StudyError


@contextmanager
def beside(work):
    """Runs `work` in a thread over and over."""
    ended = threading.Event()

    def repeat():
        while not ended.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("end", ["exits", "is killed"])
def test_a_folder_is_another_processs_until_that_one_ends(tmp_path, holder, end, monkeypatch):
    monkeypatch.setattr(ownership, "_PATIENCE", 0.1)
    folder = tmp_path / "studies/s"
    assert owner(folder) is None
    assert not folder.exists()
    process = holder(folder)
    who = f"process {process.pid} on {os.uname().nodename}"
    for _ in range(2):
        assert owner(folder) == who
        with pytest.raises(StudyError) as caught, alone(folder):
            pytest.fail("two at once")
        assert str(caught.value) == f"study 's' is being run by {who}: wait for it, or stop it"
    process.kill() if end == "is killed" else process.stdin.close()
    process.wait()
    assert (folder / ".owner").exists()
    for _ in range(2):
        assert owner(folder) is None
        with alone(folder):
            assert owner(folder) == f"process {os.getpid()} on {os.uname().nodename}"


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), alone(tmp_path):
        raise ZeroDivisionError
    with alone(tmp_path):
        pass


def test_asking_keeps_nobody_from_starting(tmp_path):
    with alone(tmp_path):
        pass
    with beside(lambda: owner(tmp_path)), beside(lambda: owner(tmp_path)):
        for _ in range(5):
            with alone(tmp_path):
                assert owner(tmp_path) == (tmp_path / ".owner").read_text()


def test_who_starts_waits_for_one_that_asks(tmp_path):
    """Who asks holds the lock for a moment, which this draws out."""
    asked = FileLock(tmp_path / ".lock", thread_local=False)
    asked.acquire()
    timer = threading.Timer(0.3, asked.release)
    timer.start()
    with alone(tmp_path):
        assert not timer.is_alive()
