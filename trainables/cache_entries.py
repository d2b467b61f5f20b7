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
    """Whether a cache entry is there and as it was written; a damaged one is removed, with a warning."""
    if not folder.is_dir():
        return False
    try:
        intact = json.loads((folder / _SUMS).read_text(encoding="utf-8")) == _sums(folder)
    except (OSError, ValueError):
        intact = False
    if not intact:
        logging.getLogger(__name__).warning("the cache entry %s is damaged and is made again", folder)
        shutil.rmtree(folder)
    return intact


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SUMS)
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
