"""A study's tables on disk: rows are appended, and a later row takes the place of an earlier one with its key."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from study.records.evidence import EVIDENCE
from study.records.files import replace_file
from study.records.metrics import METRICS, SUBJECT_METRICS

JOURNAL = "_journal.jsonl"
"""The newest rows of a table, a JSON line each; the underscore hides it from readers of Parquet folders."""

_JOURNAL_ROWS = 5000


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
            pyarrow.ArrowException, OSError: for a file that is damaged.
        """
        chosen = _equal({name: value for name, value in equal.items() if name in self._key})
        while True:
            journal, files = self._journal_rows(), self._files()
            try:
                found = ds.dataset(list(map(str, files)), self.schema, format="parquet").to_table(filter=chosen)
            except FileNotFoundError:
                continue  # merged while it was read
            if files == self._files():
                break
        rows = self._latest(pa.concat_tables([found, journal.filter(chosen)]))
        return rows.filter(_equal({name: value for name, value in equal.items() if name not in self._key}))

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

    def merge(self) -> None:
        """Make one Parquet file of everything.

        Killed at any moment, it leaves every row at its place: what is still there beside the merged file is newer
        than what is not.

        Raises:
            OSError: the disk has no room for it; the table is as it was.
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
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        try:
            return pa.Table.from_pylist([json.loads(line) for line in lines], self.schema)
        except ValueError as error:
            raise pa.ArrowInvalid(f"{self._journal} is damaged: {error}") from error

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


def trials_table(folder: Path, knobs: Mapping[str, type]) -> Table:
    """The table of a study's trials, one row per trial id.

    Args:
        folder: the study's folder.
        knobs: the searched knobs and the Python type of their values, one column each.
    """
    arrow = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    columns = [("id", pa.string()), ("strategy", pa.string()), ("seed", pa.int64())]
    columns += [(name, arrow[kind]) for name, kind in knobs.items()]
    columns += [(name, pa.float64()) for name in METRICS]
    columns += [(name, pa.bool_()) for name in ("feasible", "on_front", "diverged")]
    columns += [("epochs_done", pa.int64()), ("seconds", pa.float64()), ("status", pa.string())]
    columns += [("problem", pa.string()), *EVIDENCE.items()]
    return Table(folder / "trials", pa.schema(columns), ("id",))


def references_table(folder: Path) -> Table:
    """The table of a study's references, one row per name (baseline, retrained, retrained-1, ...)."""
    columns = [("id", pa.string()), ("digest", pa.string()), ("seed", pa.int64())]
    columns += [(name, pa.float64()) for name in METRICS if not name.endswith(("_gap", "retention"))]
    return Table(folder / "references", pa.schema([*columns, *EVIDENCE.items()]), ("id",))


def history_table(folder: Path) -> Table:
    """The table of a study's epochs, one row per trial id and epoch (from 1), with the address of its node."""
    columns = [("id", pa.string()), ("epoch", pa.int64()), *((name, pa.float64()) for name in METRICS)]
    schema = pa.schema([*columns, ("loss", pa.float64()), ("seconds", pa.float64()), ("node", pa.string())])
    return Table(folder / "history", schema, ("id", "epoch"))


def subjects_table(folder: Path) -> Table:
    """The table of single subjects: one row per trial or reference id, epoch and subject (a pseudonym)."""
    columns = [("id", pa.string()), ("epoch", pa.int64()), ("set", pa.string()), ("subject", pa.string())]
    schema = pa.schema([*columns, *((name, pa.float64()) for name in SUBJECT_METRICS)])
    return Table(folder / "subjects", schema, ("id", "epoch", "subject"))


def sequence_table(folder: Path) -> Table:
    """The table of deletion requests: one value per step, method, set (request-N too) and metric."""
    columns = [("step", pa.int64()), ("method", pa.string()), ("trial", pa.string()), ("set", pa.string())]
    schema = pa.schema([*columns, ("metric", pa.string()), ("value", pa.float64())])
    return Table(folder / "sequence", schema, ("step", "method", "set", "metric"))


def _plain(value: Any) -> Any:
    """A NumPy scalar as JSON has it."""
    return value.item()
