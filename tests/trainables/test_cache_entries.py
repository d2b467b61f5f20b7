import hashlib
import os
import tracemalloc

import pytest

from trainables import cache_entries
from trainables.cache_entries import appearing, cached, caching, file_sha256

MIB = 2**20


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that are hashed, in order."""
    names = []
    monkeypatch.setattr(cache_entries, "file_sha256", lambda file: names.append(file.name) or file_sha256(file))
    return names


@pytest.fixture
def entry(tmp_path):
    """A cache entry of a few bytes."""
    folder = tmp_path / "cache" / "digest"
    with caching(folder) as temporary:
        (temporary / "values").write_bytes(b"as it was written")
    return folder


def test_a_folder_appears_whole_when_the_block_ends(tmp_path):
    folder = tmp_path / "cache" / "digest"
    with appearing(folder) as temporary:
        (temporary / "file").write_text("whole")
        assert temporary.stat().st_mode & 0o777 == 0o700
        assert not folder.exists()
    assert (folder / "file").read_text() == "whole"
    assert list(folder.parent.iterdir()) == [folder]


def fill_and_fail(folder):
    with appearing(folder) as temporary:
        (temporary / "file").write_text("half")
        raise OSError("disk full")


def test_after_an_error_nothing_is_left(tmp_path):
    with pytest.raises(OSError, match="full"):
        fill_and_fail(tmp_path / "digest")
    assert list(tmp_path.iterdir()) == []


def test_the_faster_process_wins(tmp_path):
    folder = tmp_path / "digest"
    with appearing(folder) as slower:
        (slower / "file").write_text("late")
        with appearing(folder) as faster:
            (faster / "file").write_text("first")
    assert (folder / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.slow
def test_a_file_is_hashed_piece_by_piece(tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as sparse:
        sparse.write(b"begin")
        sparse.seek(200 * MIB)
        sparse.write(b"end")
    tracemalloc.start()
    try:
        digest = file_sha256(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
    assert digest == hashlib.sha256(b"begin" + bytes(200 * MIB - 5) + b"end").hexdigest()


def test_a_process_reads_an_entry_through_once(entry, hashed):
    assert not hashed
    assert cached(entry)
    assert hashed == ["values"]
    assert cached(entry)
    assert hashed == ["values"]


@pytest.mark.parametrize("damage", ["bytes", "size", "missing", "more"])
def test_an_entry_that_changes_later_is_found_damaged(entry, damage):
    assert cached(entry)
    values = entry / "values"
    if damage == "bytes":
        values.write_bytes(b"AS IT WAS WRITTEN")
        os.utime(values, (1, 1))
    elif damage == "size":
        values.write_bytes(b"as it was")
    elif damage == "missing":
        values.unlink()
    else:
        (entry / "other").touch()
    assert not cached(entry)
    assert not entry.exists()


def test_an_entry_made_again_is_read_through_again(entry, hashed):
    assert cached(entry)
    (entry / "values").unlink()
    assert not cached(entry)
    with caching(entry) as temporary:
        (temporary / "values").write_bytes(b"other")
    hashed.clear()
    assert cached(entry)
    assert hashed == ["values"]
