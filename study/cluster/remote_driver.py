"""A study whose terminal is outside the cluster: its driver runs on the cluster's head, and this follows it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import ray

from study.cluster.joining import join
from study.records.files import digest_of

_PAUSE = 0.5
_START = "import sys; sys.path[:] = filter(None, sys.path); from study.run import main; sys.exit(main())"
"""`python -m study.run`, but for what the folder that it starts in has by these names."""
_HEAD = {"node:__internal_head__": 0.001}


class Driver:
    """The process of a study on the head; an actor that outlives whoever started it."""

    def __init__(self, arguments: Sequence[str]):
        command = [sys.executable, "-u", "-c", _START, *arguments]
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address, "COLUMNS": "120"}
        # A pipe that nobody reads would stop the study once it is full.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command, env=environment, stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def news(self, start: int) -> tuple[bytes, int | None]:
        """What it has written from a byte on, and its exit code once it has ended."""
        code = self._process.poll()
        descriptor = self._output.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size - start, start), code

    def interrupt(self) -> None:
        """As Ctrl-C in its terminal; by SIGTERM, as Ray's workers and their children block SIGINT."""
        self._process.terminate()


def follow(address: str, arguments: Sequence[str]) -> int:
    """Run a study on the head of a cluster and show what it says; returns its exit code.

    A study goes on when this machine leaves; the same command finds it again.

    Args:
        address: ray://HOST:PORT of the cluster.
        arguments: of `study.run`, as its head shall have them.

    Raises:
        StudyError: no cluster answers there.
    """
    join(address, logging_level="ERROR", namespace="lethe", runtime_env={})
    name = f"study-{digest_of(list(arguments))}"
    driver = (
        ray.remote(Driver)
        .options(name=name, lifetime="detached", get_if_exists=True, num_cpus=0, resources=_HEAD)
        .remote(list(arguments))
    )
    read = 0
    while True:
        try:
            text, code = ray.get(driver.news.remote(read))
            read += len(text)
            sys.stdout.buffer.write(text)
            sys.stdout.flush()
            if code is not None:
                ray.kill(driver)
                return int(code)
            time.sleep(_PAUSE)
        except KeyboardInterrupt:
            ray.get(driver.interrupt.remote())
