"""Pseudonyms: the only form in which subject ids leave the owner's machine or reach a record."""

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path


def pseudonym(subject: str, key: bytes) -> str:
    """A keyed hash of the id: without the key nobody can test a guess."""
    return "s-" + hmac.new(key, subject.encode(), hashlib.sha256).hexdigest()[:10]


def owner_key(cache: Path) -> bytes:
    """The owner's secret key, made on first use beside the cache and readable by the owner only."""
    path = cache / "pseudonym.key"
    cache.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor, made = tempfile.mkstemp(dir=cache, prefix=".pseudonym-")  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
            os.link(made, path)
        Path(made).unlink()
    return path.read_bytes()
