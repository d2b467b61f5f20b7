import pytest

from trainables.cache_entries import appearing


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
