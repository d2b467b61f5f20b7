"""A clock that jumps by days while a study runs."""

import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.soak

DAY = 86400
CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *offset;

__attribute__((constructor)) static void open_offset(void) {
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    offset = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int code = syscall(SYS_clock_gettime, clock, now);
    if (!code && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *offset;
    return code;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return out ? (*out = now.tv_sec) : now.tv_sec;
}
"""
"""Moves a process's wall clock by the seconds in a file; libfaketime changes sleeping too, which Ray cannot bear."""


class Clock:
    def __init__(self, folder):
        self.library, self._offset = folder / "clock.so", folder / "offset"
        (folder / "clock.c").write_text(CLOCK)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", self.library, folder / "clock.c"], check=True)
        self._offset.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": self.library, "CLOCK_OFFSET": self._offset}

    def move(self, seconds):
        with self._offset.open("r+b") as offset:
            offset.write(struct.pack("q", seconds))


@pytest.fixture
def clock(tmp_path):
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    return Clock(tmp_path)


@pytest.fixture
def told_to_mlflow(held_in_mlflow):
    """When MLflow says that each epoch of a trial ended: Study, id -> seconds since 1970."""

    def times(study, trial):
        run = held_in_mlflow(study.store, study.name)[trial]["id"]
        return [entry.timestamp / 1000 for entry in MlflowClient(study.store).get_metric_history(run, "epoch")]

    return times


def test_a_clock_that_jumps_changes_nothing(
    repeatable, clock, same_as_undisturbed, complete_in_mlflow, told_to_mlflow
):
    """A day ahead, killed, a day back, killed, and right again: what is newest is told by numbers."""
    study = repeatable()
    driver = study.start(**clock.environment)
    driver.until(study.reached(ended=0, epochs=4))
    assert all(str(clock.library) in Path(f"/proc/{worker.pid}/maps").read_text() for worker in driver.workers)
    clock.move(DAY)
    driver.until(study.reached(ended=0, epochs=8))
    (worker,), (trial,) = driver.workers, study.running
    worker.suspend()  # so that MLflow, half a second behind, gets what was until here
    driver.until(lambda: max(told_to_mlflow(study, trial)) > time.time() + DAY / 2)
    driver.kill()
    first, (state,) = study.saved(trial), study.states(trial)
    os.utime(state, 2 * (time.time() + DAY,))  # the files have the kernel's time

    clock.move(-DAY)
    driver = study.start(*study.resume, **clock.environment)
    driver.until(lambda: len(study.states(trial)) == 2 and len(study.epochs_of(trial)) >= 12)
    driver.kill()
    second, history = study.saved(trial), study.history
    assert second > first

    driver = study.start(*study.resume, **clock.environment)
    driver.until(study.reached(ended=1, epochs=4))
    clock.move(0)
    assert "Traceback" not in driver.ends(0)
    same_as_undisturbed(study)
    after = study.final("history")
    assert after.seconds.between(0, 100, inclusive="neither").all()
    before, again = (table[table.id == trial].set_index("epoch").seconds for table in (history, after))
    assert (again[:second] == before[:second]).all()  # not run again
    complete_in_mlflow(study.store, study)
    times = told_to_mlflow(study, trial)
    assert max(times) - min(times) > 1.5 * DAY
