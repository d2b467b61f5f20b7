"""A machine whose memory runs out."""

import re

import numpy as np
import psutil
import pytest

from study.records.failure import FAILED

pytestmark = [pytest.mark.slow, pytest.mark.alone]

LIMIT, OTHERS = 4.2e9, 4.5e9
"""Bytes: what the study may use (a step with all scans needs 5.3e9); and what another process takes later."""


def test_a_baseline_without_memory_ends_the_study_with_one_clear_error(study_in, tmp_path):
    memory = psutil.virtual_memory()
    cohort = ("--cohort", "phantom:48x112x112,16", "--baseline-epochs", 1, "--forget-count", 2)
    study = study_in(tmp_path, "s", *cohort, "--no-evidence", "--concurrent", 1, "--trials", 2)
    driver = study.start(
        RAY_memory_usage_threshold=(memory.total - memory.available + 1.2e9) / memory.total,
        RAY_memory_monitor_refresh_ms=100,
    )
    output = driver.ends(FAILED)
    assert "a trial's step could not be tried (out of memory)" in output
    assert re.search(r"^error: the (baseline|retrained) fit failed: out of memory$", output, re.MULTILINE)
    assert "Traceback" not in output


@pytest.mark.soak
@pytest.mark.skipif(psutil.virtual_memory().available < 10e9, reason="needs 10 GB of memory")
def test_a_trial_without_memory_goes_on_with_one_scan_at_a_time_or_is_marked(study_in, tmp_path):
    memory = psutil.virtual_memory()
    cohort = ("--cohort", "phantom:48x112x112,16", "--baseline-epochs", 1, "--forget-count", 2)
    knobs = ("--set", "retain_batch=13", "--set", "forget_batch=2", "--set", "epochs=1")
    study = study_in(tmp_path, "s", *cohort, *knobs, "--concurrent", 1, "--trials", 2)
    driver = study.start(
        RAY_memory_usage_threshold=(memory.total - memory.available + LIMIT) / memory.total,
        RAY_memory_monitor_refresh_ms=100,
    )
    driver.until(lambda: " 1 epochs, " in driver.said)
    taken = np.ones(int(OTHERS), np.uint8)
    output = driver.ends(0)
    del taken

    first, second = study.final("trials").itertuples()
    for trial in (first, second):
        assert output.count(f"{trial.id}  out of memory: tried again, now one scan at a time") == 1
    assert (first.status, first.epochs_done) == ("finished", 1)
    assert first.problem == "out of memory: continued one scan at a time"
    assert (second.status, second.epochs_done) == ("failed", 0)
    assert second.problem == "out of memory, also one scan at a time"
    assert "a trial's step could not be tried (out of memory)" in output
    assert "Traceback" not in output
