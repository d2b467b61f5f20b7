"""Whose a study's folder is: one process at a time writes to it."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from study.records.failure import StudyError

_PATIENCE = 1.0
"""Seconds to wait for a folder: `owner` holds it for a moment."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a study's folder, which is made if it is not there.

    Raises:
        StudyError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mine = folder / ".owner"
    try:
        with FileLock(folder / ".lock", timeout=_PATIENCE):
            mine.write_text(f"process {os.getpid()} on {platform.node()}")
            yield
    except Timeout as error:
        who = mine.read_text() if mine.exists() else "another process"
        raise StudyError(f"study {folder.name!r} is being run by {who}: wait for it, or stop it") from error


def owner(folder: Path) -> str | None:
    """The process that holds a study's folder, in words; None if it is free."""
    mine = folder / ".owner"
    if not mine.is_file():
        return None
    try:
        with FileLock(folder / ".lock", blocking=False):
            return None
    except Timeout:
        return mine.read_text() or "another process"
    except OSError:
        return None  # a folder that may only be read
