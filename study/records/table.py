"""A table on disk: rows are appended, and a later row takes the place of an earlier one with its key."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from study.records.failure import StudyError
from study.records.files import replace_file, to_disk

JOURNAL = "_journal.jsonl"
"""The newest rows of a table, a JSON line each; the underscore hides it from readers of Parquet folders."""

_JOURNAL_ROWS = 5000
_LISTED = 8
_RESUMED = "and --resume makes again what is missing"
_WAY_OUT = f"put its copy from a backup there, or move it away, {_RESUMED}"


class Table:
    """Rows keyed by some of their columns, in a folder of Parquet files and a journal of the newest rows.

    A reader, or a process killed at any moment, sees whole rows only, and the last one of each key. One process
    writes; any number may read.
    """

    def __init__(self, folder: Path, schema: pa.Schema, key: tuple[str, ...]):
        self.folder, self.schema, self._key = folder, schema, key
        self._journal = folder / JOURNAL
        self._journaled: int | None = None  # unknown until the first write

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows, in the order in which their keys first appeared."""
        rows: list[dict[str, Any]] = self.read().to_pylist()
        return rows

    def read(self, **equal: str) -> pa.Table:
        """The rows, or those whose columns have these values.

        Raises:
            StudyError: a file is damaged, with its name and what can still be read.
        """
        wanted = _equal({name: value for name, value in equal.items() if name in self._key})
        while True:
            journal, files = self._journal_rows(), self._files()
            try:
                merged = ds.dataset(list(map(str, files)), self.schema, format="parquet").to_table(filter=wanted)
            except FileNotFoundError:
                continue  # merged while it was read
            except (pa.ArrowException, OSError) as error:
                raise self._damage(files, error) from error
            if files == self._files():
                break
        rows = self._latest(pa.concat_tables([merged, journal.filter(wanted)]))
        return rows.filter(_equal({name: value for name, value in equal.items() if name not in self._key}))

    def _damage(self, files: Sequence[Path], error: Exception) -> StudyError:
        """Which Parquet files cannot be read, and how many rows the others have."""
        readable, damaged = 0, []
        for file in files:
            try:
                readable += len(ds.dataset(str(file), self.schema, format="parquet").to_table())
            except (pa.ArrowException, OSError):
                damaged.append(str(file))
        rest = f"{readable + len(self._journal_rows())} rows of the table {self.folder.name!r} can still be read"
        reason = str(error).partition("\n")[0]
        return StudyError(f"{', '.join(damaged)}: damaged ({reason}); {rest}: {_WAY_OUT}")

    def upsert(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, or replace those with the same key.

        Raises:
            OSError: the disk took none of them; the table is as it was.
            pyarrow.ArrowException: a value of another type than its column's; none was taken.
        """
        if self._journaled is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._roll()
        kept = [{name: row.get(name) for name in self.schema.names} for row in rows]
        pa.Table.from_pylist(kept, self.schema)
        lines = "".join(json.dumps(row, default=_plain) + "\n" for row in kept)
        size = self._journal.stat().st_size
        try:
            with self._journal.open("a", encoding="utf-8") as journal:
                journal.write(lines)
        except OSError:
            os.truncate(self._journal, size)
            raise
        self._journaled = (self._journaled or 0) + len(kept)
        if self._journaled >= _JOURNAL_ROWS:
            with contextlib.suppress(OSError):  # a full disk leaves the journal as it is
                self._roll()

    def sync(self) -> None:
        """Wait until what was upserted is on the disk itself, so that a power cut takes none of it."""
        if self._journaled is not None:
            to_disk(self._journal)

    def merge(self) -> None:
        """Make one Parquet file of everything.

        Killed at any moment, it leaves every row at its place: what is still there beside the merged file is newer
        than what is not.

        Raises:
            OSError: the disk has no room for it; the table is as it was.
            StudyError: a file is damaged; the table is as it was.
        """
        files = self._files()
        if len(files) > 1 or self._journal.exists():
            first, *others = files or [self.folder / f"{1:08}.parquet"]
            replace_file(first, partial(pq.write_table, self.read()))
            for file in others:
                file.unlink()
            self._journal.unlink(missing_ok=True)
        self._journaled = None

    def _roll(self) -> None:
        """Make a Parquet file of the journal, and begin a new one; a last line that was cut off is dropped."""
        rows = self._journal_rows()
        if len(rows):
            number = max((int(file.stem) for file in self._files()), default=0) + 1
            replace_file(self.folder / f"{number:08}.parquet", partial(pq.write_table, rows))
        replace_file(self._journal, Path.touch)
        self._journaled = 0

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def _journal_rows(self) -> pa.Table:
        try:
            content = self._journal.read_bytes()
        except FileNotFoundError:
            content = b""
        lines = content.rstrip(b"\0")[: content.rfind(b"\n") + 1].splitlines()  # a crash leaves half a line, or zeros
        try:
            return pa.Table.from_pylist([json.loads(line) for line in lines], self.schema)
        except ValueError:
            raise self._journal_damage(lines) from None

    def _journal_damage(self, lines: Sequence[bytes]) -> StudyError:
        """Which lines of the journal cannot be read."""
        damaged = [number for number, line in enumerate(lines, 1) if not self._is_row(line)]
        numbers = ", ".join(map(str, damaged[:_LISTED])) + (", ..." if len(damaged) > _LISTED else "")
        rest = f"the other {len(lines) - len(damaged)} lines can still be read"
        return StudyError(f"{self._journal}: damaged in line {numbers}; {rest}: remove the damaged ones, {_RESUMED}")

    def _is_row(self, line: bytes) -> bool:
        try:
            pa.Table.from_pylist([json.loads(line)], self.schema)
        except (ValueError, AttributeError):
            return False
        return True

    def _latest(self, rows: pa.Table) -> pa.Table:
        keys = rows.select(self._key).to_pandas()
        superseded = keys.duplicated(keep="last").to_numpy()
        if not superseded.any():
            return rows
        first = keys.groupby(list(self._key), sort=False).ngroup().to_numpy()
        kept = (~superseded).nonzero()[0]
        return rows.take(kept[first[kept].argsort()])


def _equal(values: Mapping[str, str]) -> pc.Expression:
    chosen = pc.scalar(True)
    for name, value in values.items():
        chosen &= pc.field(name) == value
    return chosen


def _plain(value: Any) -> Any:
    """A NumPy scalar as JSON has it."""
    return value.item()
