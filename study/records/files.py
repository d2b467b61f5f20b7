"""Where studies are on disk, and how their files are written: whole, or not at all."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

DISTRIBUTION = "lethe-unlearning"
"""The installed package, as the package index has it; `lethe` is another there."""

STUDIES = "LETHE_STUDIES"
"""Environment variable that names the folder of all studies."""


def studies_folder() -> Path:
    """Where all studies are unless told otherwise: `LETHE_STUDIES`, or `studies` here."""
    return Path(os.environ.get(STUDIES, "studies"))


def absolute_path(path: str) -> str:
    """A path from the root of the disk, without `~` and `..`; links are not followed. "" stays."""
    return os.path.normpath(Path(path).expanduser().absolute()) if path else ""


def absolute_store(address: str) -> str:
    """The address of a database, that of an SQLite file with its absolute path."""
    driver, mark, path = address.partition(":///")
    is_file = mark and driver.startswith("sqlite") and path and not path.startswith(("file:", ":"))
    return f"{driver}:///{absolute_path(path)}" if is_file else address


def digest_of(value: Any) -> str:
    """First 12 hex digits of the SHA-256 of the value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def in_file_names(name: str) -> str:
    """A name as files have it, which `package.module:name` is not."""
    return name.replace(":", ".")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader never sees half of it."""
    replace_file(path, lambda temporary: temporary.write_text(json.dumps(value, indent=1) + "\n"))


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary neighbour of `path`, then put that in place: whole, and on the disk itself."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        to_disk(temporary)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
