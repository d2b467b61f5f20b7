"""Folders that are complete or absent, and cache entries that are as they were written."""

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUMS = ".sums.json"
_CHUNK = 2**20

_verified: dict[Path, dict[str, tuple[int, int]]] = {}
"""Entries that this process has found intact, and the size and time of change of their files then."""


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary neighbour to fill, readable by its owner only, that becomes `folder` when the block ends.

    After an error nothing appears. Where another process was faster, its folder stays: names are hashes of contents.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        yield temporary
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def caching(folder: Path) -> Iterator[Path]:
    """Like `appearing`, for a cache entry: with the sums of its files, by which `cached` knows them again."""
    with appearing(folder) as temporary:
        yield temporary
        (temporary / _SUMS).write_text(json.dumps(_sums(temporary)), encoding="utf-8")


def cached(folder: Path) -> bool:
    """Whether a cache entry is there and as it was written; a damaged one is removed, with a warning.

    A process reads an entry's files through once, and again only if one of them has changed in size or time: a trial
    need not hash gigabytes that the trial before it has hashed.
    """
    if not folder.is_dir():
        return False
    try:
        state = {name: (file.stat().st_size, file.stat().st_mtime_ns) for name, file in _files(folder).items()}
        if _verified.get(folder.absolute()) == state:
            return True
        intact = json.loads((folder / _SUMS).read_text(encoding="utf-8")) == _sums(folder)
    except (OSError, ValueError):
        intact = False
    if not intact:
        logging.getLogger(__name__).warning("the cache entry %s is damaged and is made again", folder)
        shutil.rmtree(folder)
    else:
        _verified[folder.absolute()] = state
    return intact


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hex digits, a piece of it in memory at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sums(folder: Path) -> dict[str, str]:
    return {name: file_sha256(file) for name, file in _files(folder).items()}


def _files(folder: Path) -> dict[str, Path]:
    """The files of an entry by their paths within it, but for the one that holds their sums."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SUMS)
    return {str(file.relative_to(folder)): file for file in files}
