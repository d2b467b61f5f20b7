"""What all tests share."""

import gc
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

# Processes of tests share the cores: threads that wait for each other would spin there
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_ADDRESS", "local")  # a study joins the cluster of its machine; a test's has its own
# Ray makes a token for itself on the way: what runs before that and after it must have the same
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
os.environ.setdefault("RAY_worker_niceness", "0")  # else trials wait for whatever tests run beside them
# Else those of the fits end when the trials start, and the evidence waits for Python and torch once more
os.environ.setdefault("RAY_num_workers_soft_limit", "8")
LEAN = str(Path(__file__).with_name("lean"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (LEAN, os.environ.get("PYTHONPATH"))))

RAY = {"_done", "_examined", "local_ray", "ray_of", "run_of"}
"""Fixtures of tests that need the Ray that tests share."""


@pytest.hookimpl(wrapper=True)  # before xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Of several processes one runs what needs Ray, so that there is one Ray; the tests of a file share fixtures."""
    for item in items:
        if RAY.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("ray"))
        else:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    yield
    gc.freeze()  # what has been imported so far stays: else every full collection looks at a million objects again
