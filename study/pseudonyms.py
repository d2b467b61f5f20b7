"""Pseudonyms: the only form in which subject ids leave the owner's machine or reach a record."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path


def pseudonym(subject: str, key: bytes) -> str:
    """A keyed hash of the id: without the key nobody can test a guess."""
    return "s-" + hmac.new(key, subject.encode(), hashlib.sha256).hexdigest()[:10]


def owner_key(cache: Path) -> bytes:
    """The owner's secret key, made on first use beside the cache and readable by the owner only."""
    path = cache / "pseudonym.key"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()
