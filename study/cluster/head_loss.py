"""Watches Ray's head process: when it is lost, Ray would end the driver without a word on the study."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import ray

_EVERY, _PATIENCE = 2.0, 15.0
"""Seconds: between two looks, and without an answer until the head counts as lost. Ray gives up after 60."""

LOST = "Ray's head process is gone; all epochs reported so far are recorded, and the same command continues from them"


@contextlib.contextmanager
def watched_head(lost: Callable[[str], None]) -> Iterator[None]:
    """While entered, call `lost` with the reason once if the head does not answer any more."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    left = threading.Event()

    def watch() -> None:
        silent = 0.0
        while not left.wait(_EVERY):
            try:
                socket.create_connection((host, int(port)), _EVERY).close()
                silent = 0.0
            except OSError:
                silent += _EVERY
            if silent >= _PATIENCE:
                lost(LOST)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
