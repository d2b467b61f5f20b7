"""study.json as a typed value: what a study is, from the moment its references are there."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from study.records.constraints import Constraint, parse
from study.records.evidence import EVIDENCE, EvidenceColumn
from study.records.failure import StudyError
from study.records.files import write_json
from study.records.metrics import METRICS, Metric
from study.records.objectives import OBJECTIVES, Objective
from study.records.settings import StudySettings
from study.records.trials import Knob

FILE = "study.json"

FORMAT = 2
"""Of study.json. Format 1 said none, kept paths as they were typed and had every option in a study's name."""


@dataclass(frozen=True)
class CohortRecord:
    """The cohort: hash of its contents, its scans, their grid (D, H, W) in voxels and mm, and the classes."""

    digest: str
    scans: int
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class SplitRecord:
    """Pseudonyms of the subjects of each set."""

    retain: tuple[str, ...]
    forget: tuple[str, ...]
    heldout: tuple[str, ...]
    steering: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """What steers the search, and what the evidence reports.

    Attributes:
        steering_references, report_references: names of retrained references.
        steering_heldout, report_heldout: pseudonyms of held-out subjects.
        warnings: why the report is optimistic, if it is.
    """

    steering_references: tuple[str, ...]
    report_references: tuple[str, ...]
    steering_heldout: tuple[str, ...]
    report_heldout: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """A published point: Dice in [0, 1] and where it stands."""

    retain_dice: float
    forget_dice: float
    source: str


@dataclass(frozen=True)
class Entry:
    """A recipe of a suite, with its published points by epochs."""

    strategy: str
    knobs: Mapping[str, Knob]
    published: Mapping[int, Published] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipes:
    """A suite's recipes, the epochs after which they are reported, and the trials of each; a search has none."""

    entries: tuple[Entry, ...] = ()
    horizons: tuple[int, ...] = ()
    seeds: int = 0


@dataclass(frozen=True)
class ReferenceRecord:
    """A reference: hash of what decided its weights, seed, and its final `<set>_<metric>` values."""

    digest: str
    seed: int
    metrics: Mapping[str, float]


def _reference(plain: Any) -> Any:
    """In the file the metrics stand beside the rest."""
    if not isinstance(plain, dict):
        return plain
    known = {name: plain[name] for name in ("digest", "seed") if name in plain}
    return known | {"metrics": {name: value for name, value in plain.items() if name not in known}}


def _settings(plain: Any) -> StudySettings:
    if isinstance(plain, StudySettings):
        return plain
    try:
        return StudySettings.from_plain(dict(plain))
    except TypeError as error:
        raise PydanticCustomError("said", "no options") from error
    except StudyError as error:
        raise PydanticCustomError("said", "{reason}", {"reason": str(error)}) from error


_KNOBS = {kind.__name__: kind for kind in (float, int, str, bool)}


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study as its study.json tells it.

    Attributes:
        name: of the study; a folder that was copied or renamed may have another.
        space: the search space's or suite's name.
        planned: trials in all.
        settings: every option, subjects as pseudonyms.
        knobs: those of any trial, and the types of their values.
        domains: searched knob -> its distribution, as Optuna writes it in JSON; empty for a suite.
        metrics: columns of the tables of trials, epochs and subjects.
        constraints: what a feasible trial meets, the retain floor included.
        evidence_columns: of the tables of trials and references.
        published: the result of the strategy's paper.
        trial_cpus: what a trial gets in the latest session; on the CPU its result depends on it in the last bits.
        versions: of the packages that ran it.
        commit: of this code.
    """

    format: int = 1
    name: str
    space: str
    planned: int
    settings: Annotated[StudySettings, PlainValidator(_settings), PlainSerializer(StudySettings.plain)]
    knobs: Mapping[
        str,
        Annotated[
            type,
            BeforeValidator(lambda kind: _KNOBS.get(str(kind), kind)),
            PlainSerializer(lambda kind: kind.__name__),
        ],
    ]
    domains: Mapping[str, Any]
    metrics: Mapping[str, Annotated[Metric, PlainSerializer(Metric._asdict)]] = field(
        default_factory=lambda: dict(METRICS)
    )
    constraints: tuple[
        Annotated[
            Constraint,
            BeforeValidator(lambda text: parse(text) if isinstance(text, str) else text),
            PlainSerializer(str),
        ],
        ...,
    ]
    suite: Annotated[Recipes, PlainSerializer(lambda suite: asdict(suite) if suite.entries else {})]
    cohort: CohortRecord
    split: SplitRecord
    selection: Selection
    references: Mapping[
        str,
        Annotated[
            ReferenceRecord,
            BeforeValidator(_reference),
            PlainSerializer(lambda known: {"digest": known.digest, "seed": known.seed, **known.metrics}),
        ],
    ]
    evidence_columns: Mapping[str, Annotated[EvidenceColumn, PlainSerializer(EvidenceColumn.plain)]] = field(
        default_factory=lambda: dict(EVIDENCE)
    )
    published: Annotated[
        Published | None,
        BeforeValidator(lambda point: point or None),
        PlainSerializer(lambda point: asdict(point) if point else {}),
    ]
    trial_cpus: int | None = None
    versions: Mapping[str, str]
    commit: str

    @property
    def objective(self) -> Objective:
        """What the study searches for."""
        return OBJECTIVES[self.settings.objective]

    def reference(self, name: str) -> Mapping[str, float]:
        """The metrics of a reference; empty if there is no such one."""
        return self.references[name].metrics if name in self.references else {}

    def plain(self) -> dict[str, Any]:
        """What study.json holds."""
        stored: dict[str, Any] = _PLAIN.dump_python(self, mode="json")
        return stored

    def write(self, folder: Path) -> None:
        """Write study.json into the study's folder."""
        write_json(folder / FILE, self.plain())


_PLAIN = TypeAdapter(StudyRecord)


def read_record(folder: Path) -> StudyRecord:
    """The study.json of a study.

    Raises:
        StudyError: there is none, it is damaged, with everything that is wrong in it, or a later version wrote it.
    """
    path = folder / FILE
    if not path.is_file():
        raise StudyError(f"{folder} is not a study: it holds no {FILE}")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError(f"{path} is damaged: {error}") from error
    number = stored.get("format", 1) if isinstance(stored, dict) else 1
    if isinstance(number, int) and number > FORMAT:
        raise StudyError(f"{path} has format {number}, and this version of Lethe reads up to {FORMAT}")
    try:
        return _PLAIN.validate_python(stored)
    except ValidationError as error:
        wrong = [": ".join([*map(str, problem["loc"]), problem["msg"]]) for problem in error.errors()]
        raise StudyError(f"{path} is not a study's record: {'; '.join(wrong)}") from error


def begun_record(folder: Path) -> StudyRecord | None:
    """The study.json of a study; None before it has one.

    Raises:
        StudyError: as `read_record`.
    """
    return read_record(folder) if (folder / FILE).exists() else None


def recorded_settings(folder: Path) -> StudySettings:
    """The settings that a study was run with; its folder is where it lies now.

    Raises:
        StudyError: as `read_record`.
    """
    return replace(read_record(folder).settings, studies=folder.parent, name=folder.name)
