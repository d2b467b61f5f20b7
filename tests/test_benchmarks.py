"""Benchmarks still run: the smallest of each, but for those that overwrite their published figures."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("engine.py --trials 4 --epochs 2", "ms each"),
        ("epoch.py --cohort phantom:24x32x32,3 --epochs 1", "trial / bare loop: median"),
        ("feeding.py --cohort phantom:24x32x32,3 --depths 10 --repeats 1", "% of a step"),
        ("history.py --trials 20", "all rows read: 1000 in"),
        ("stopping.py --seeds 1 --floors 1.0", "after 15 epochs"),
    ],
)
def test_a_benchmark_still_runs(command, said, tmp_path):
    script, *options = command.split()
    variables = {**os.environ, "LETHE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    run = [sys.executable, str(ROOT / "benchmarks" / script), *options]
    done = subprocess.run(run, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
