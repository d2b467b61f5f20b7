"""Label maps (CSV with columns from,to,name) and the table from raw label values to classes."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainables.cohorts.cohort import IGNORED, CohortError, Listing


@dataclass(frozen=True)
class LabelMap:
    """Which raw label values make up which class.

    Attributes:
        file: where it was read from, for messages.
        values: raw label value -> class value, or None where the value is ignored.
        names: class value -> name, in the order of the values; 0 is the background.
    """

    file: Path
    values: Mapping[int, int | None]
    names: Mapping[int, str]


@dataclass(frozen=True)
class ClassTable:
    """Raw label value -> class index 0..C-1 or `IGNORED`, and the C class names."""

    index: Mapping[int, int]
    names: tuple[str, ...]


def read_label_map(file: Path) -> LabelMap:
    """Reads a label map; a `to` of `ignore` excludes the value.

    Raises:
        CohortError: with every problem of the file.
    """
    if not file.is_file():
        raise CohortError([f"{file}: no such file (a label map is needed)"])
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.DictReader(lines, restkey="more", restval="")
        missing = [column for column in ("from", "to", "name") if column not in (rows.fieldnames or ())]
        if missing:
            raise CohortError([f"{file}: columns from,to,name are needed, but {', '.join(missing)} is missing"])
        lines_of = [(rows.line_num, row) for row in rows]
    values: dict[int, int | None] = {}
    names: dict[int, str] = {}
    problems = []
    for number, row in lines_of:
        where, raw, target = f"{file}, line {number}", row["from"].strip(), row["to"].strip()
        name = ",".join([row["name"], *row.get("more", [])]).strip()  # it may hold commas that nobody quoted
        if not (raw.isdecimal() and (target.isdecimal() or target == "ignore")):
            problems.append(f"{where}: `from` and `to` must be whole numbers or `to` ignore, got {raw!r}, {target!r}")
            continue
        if int(raw) in values:
            problems.append(f"{where}: value {raw} is mapped twice")
        values[int(raw)] = None if target == "ignore" else int(target)
        if target != "ignore" and not name:
            problems.append(f"{where}: class {target} has no name")
        elif target != "ignore" and names.setdefault(int(target), name) != name:
            problems.append(f"{where}: class {target} is named {name!r} here and {names[int(target)]!r} above")
    if not problems and 0 not in names:
        problems.append(f"{file}: no row maps to 0, the background")
    if problems:
        raise CohortError(problems)
    return LabelMap(file, values, dict(sorted(names.items())))


def class_table(listing: Listing, label_map: LabelMap | None, present: Iterable[int]) -> ClassTable:
    """Classes in the order of their label values: the map's, else the layout's, else the values that are present."""
    if label_map:
        names, values = label_map.names, label_map.values
    else:
        unnamed = {value: f"label {value}" for value in present if value not in listing.ignored}
        names = dict(sorted({0: "background", **(listing.class_names or unnamed | {0: "background"})}.items()))
        values = {value: value for value in names}
    position = {value: index for index, value in enumerate(names)}
    index = {value: IGNORED for value in listing.ignored}
    index |= {raw: IGNORED if value is None else position[value] for raw, value in values.items()}
    return ClassTable(index, tuple(names.values()))
