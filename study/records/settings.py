"""Every option of a study, with its range: one frozen dataclass, from which the command line is generated."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from study.records.constraints import Constraint
from study.records.constraints import parse as parse_constraint
from study.records.failure import StudyError
from study.records.files import absolute_path, absolute_store, digest_of, in_file_names, studies_folder
from study.records.objectives import OBJECTIVES
from study.records.options import (
    Address,
    AtLeastOne,
    ConstraintText,
    Depth,
    FolderName,
    Fraction,
    Gpus,
    Horizons,
    NotNegative,
    Positive,
    Shape,
    Store,
    checked,
    option_of,
)

_KIND_AND_PATH = re.compile(r"(\w+(?:\.\w+)+:\w+|[^:]*)(?::(.*))?", re.DOTALL)
"""KIND:PATH, where KIND may be `package.module:function`."""

SamplerName = Literal["tpe", "nsga2", "nsga3", "gp", "random", "grid", "qmc"]
if TYPE_CHECKING:
    ObjectiveName = str
else:
    ObjectiveName = Literal[tuple(OBJECTIVES)]


@dataclass(frozen=True)
class SearchOptions:
    """What is searched, for what, and how."""

    space: str = ""
    """What to search: the name of a file in search_spaces/ (`paper` is a suite of fixed recipes)."""
    knobs: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="set", metavar="KNOB=...")] = ()
    """Hold a knob, or search it elsewhere: KNOB=VALUE, KNOB=LOW..HIGH[/STEP] or KNOB=A|B|C; once for each knob."""
    explain: bool = False
    """Print the search space and stop."""
    objective: ObjectiveName = "gap"
    """Largest Dice gap, as scans are (gap) or under shifts of them (robust_gap); least residual memory beside retain
    Dice (residual); forget Dice closest to a retrained model's (retrain) or to unseen subjects' (unseen); the front
    of retain against forget Dice (front), seconds included (front_seconds)."""
    constraint: Annotated[
        tuple[ConstraintText, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="METRIC>=BOUND")
    ] = ()
    """What a feasible trial meets beside the retain floor, as retain_dice>=0.75 or seconds<=600; once for each."""
    retain_floor: Fraction = 0.9
    """A trial is feasible if its retain Dice is at least this fraction of the baseline's."""
    trials: AtLeastOne = 24
    """Trials of the study in all; give more with --resume to extend it."""
    epochs: AtLeastOne | None = None
    """Longest trial, in epochs; by default the search space's own."""
    sampler: SamplerName = "tpe"
    """What chooses the trials: tpe, nsga2, nsga3, gp steer by the constraints; random, grid, qmc do not look."""
    enqueue: bool = True
    """Try the published configurations of the space first."""
    warm_start: str = ""
    """Name of an earlier study of this space on this cohort; its trials teach the search."""
    early_stopping: bool = False
    """Stop the worst quarter of the trials that got as far (ASHA on epochs); not for the front. It saves little:
    early epochs hardly foretell the result (benchmarks/README.md)."""
    grace: AtLeastOne | None = None
    """Epochs that early stopping leaves every trial; by default three quarters of the longest trial."""
    horizons: Horizons = ""
    """Epochs after which each recipe of a suite is reported, comma-separated; by default the suite's own."""
    seeds: AtLeastOne | None = None
    """Trials of each recipe of a suite, with seeds of their own; by default the suite's own number."""
    seed: int = 0
    """Root of every draw: split, initial weights, batches, noise and search."""


@dataclass(frozen=True)
class CohortOptions:
    """Whose scans, and who is to be forgotten."""

    cohort: str = "phantom"
    """KIND:PATH of the scans: mrbrains18:DIR, medicalnet:FILE, decathlon:DIR, bids:DIR, phantom[:48x240x240,7]."""
    contrast: str = ""
    """Image contrast where a layout has several: reg_T1 (mrbrains18), T1w (bids), a modality (decathlon)."""
    label_map: str = ""
    """CSV file with the columns from,to,name that merges label values."""
    groups: str = ""
    """CSV file with the columns scan,subject, for layouts where several scans are one person and nothing says so."""
    shape: Shape = ""
    """Voxels D,H,W of the common grid; by default the cohort's largest extent in multiples of 8."""
    forget: str = ""
    """Ids of the subjects to forget, comma-separated."""
    forget_count: AtLeastOne | None = None
    """Forget this many subjects, drawn by the seed (default: a fifth of the cohort)."""
    requests: str = ""
    """Deletion requests in the order in which they come: a YAML file (docs/formats.md), or ids as one/two,three."""
    heldout: str = ""
    """Ids of the subjects that no model is trained on, comma-separated."""
    heldout_count: AtLeastOne | None = None
    """Hold this many subjects out, drawn by the seed (default: a fifth of the cohort)."""
    retain_count: AtLeastOne | None = None
    """Retain this many subjects, drawn by the seed, and leave the others out (default: all the rest)."""


@dataclass(frozen=True)
class ReferenceOptions:
    """The network, and its references: what trials start from and are compared with."""

    depth: Depth = 10
    """Layers of the Med3D network: 10, 18, 34 or 50."""
    weights: str = ""
    """MedicalNet checkpoint that the references start from: a file, or `medicalnet` to download it."""
    baseline_epochs: AtLeastOne = 100
    """Epochs of the reference fits."""
    baseline_lr: Positive = 1e-3
    """Learning rate (AdamW) of the reference fits."""
    baseline_augment: Literal["none", "shift", "flip", "affine"] = "none"
    """How the reference fits see each scan of a step: as it is, moved by up to 3 voxels, mirrored, or rotated, scaled
    and moved. In as many epochs they then memorise less than can be told (docs/evidence.md)."""


@dataclass(frozen=True)
class EvidenceOptions:
    """What is measured of networks that are done."""

    evidence: bool = True
    """Gather evidence of forgetting on the references and the two picks once the trials are done."""
    references: AtLeastOne = 4
    """Retrained references, fitted with seeds of their own: the first one steers, the others judge. Give more later
    to be told more precisely."""
    margin: Fraction = 0.25
    """Share of what was memorised that counts as nothing left."""
    shadows: NotNegative = 0
    """Shadow networks for the likelihood-ratio attacks, fitted on random halves of the subjects; 0 for none."""
    forget_draws: NotNegative = 0
    """Further random forget sets over which membership attacks are pooled."""
    examine: str = ""
    """Ids of trials to gather evidence on beside the picks, comma-separated, or `front` for all on the front."""
    repeats: NotNegative = 0
    """Further seeds with which each pick's recipe is run again and judged; a pick itself is the best of many."""


@dataclass(frozen=True)
class RecordOptions:
    """Where the records go, and what the terminal shows."""

    name: FolderName = ""
    """Name of the study's folder; by default made of space, cohort and a hash of the settings."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies and the embedded MLflow store."""
    resume: str = ""
    """Continue this study; options given beside it change it where they may."""
    tracking_uri: Store = ""
    """MLflow server or store; by default sqlite:///<studies>/mlflow.db."""
    optuna_storage: Store = ""
    """Database URL that keeps the Optuna study, for optuna-dashboard; by default it is in memory only."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """Show the logs of Ray, Optuna and MLflow."""


@dataclass(frozen=True)
class ClusterOptions:
    """Where trials run, and with what."""

    address: Address = ""
    """Ray cluster to run on: HOST:6379, or ray://HOST:10001 from a machine outside; by default that of this machine,
    if there is one (`ray start`, `ray submit`), else Ray is started here."""
    storage: str = ""
    """Where trials keep their state on a cluster: a folder that all nodes share, or s3://BUCKET/FOLDER; by default
    the study's folder."""
    concurrent: AtLeastOne | None = None
    """Trials at a time; by default as many as there are CPUs or GPUs. 1 makes a study repeatable bit for bit."""
    cpus_per_trial: AtLeastOne | Literal["auto"] | None = None
    """CPUs of a trial; by default as many as the trials at a time leave each other. `auto` tries a step, and gives
    so many that a node's memory holds its trials."""
    gpus_per_trial: Gpus | Literal["auto"] | None = None
    """GPUs of a trial, fractions allowed; by default a whole one, or less where --concurrent asks for more trials.
    `auto` tries a step on each kind of GPU there is, and packs as many trials on one as its memory holds."""


# Of several bases the last one's fields come first.
@dataclass(frozen=True)
class StudySettings(ClusterOptions, RecordOptions, EvidenceOptions, ReferenceOptions, CohortOptions, SearchOptions):
    """Find the unlearning recipe that forgets some subjects of a segmentation cohort and keeps the others."""

    @property
    def lasting(self) -> dict[str, Any]:
        """The options that decide what a trial computes; a study never changes them."""
        return {name: value for name, value in self.plain().items() if name not in _CHANGEABLE}

    @property
    def computed(self) -> dict[str, Any]:
        """What makes a study this one: those of its lasting options that are no defaults.

        So a new option, which is a default in every earlier study, renames none.
        """
        defaults = StudySettings().lasting
        return {name: value for name, value in self.lasting.items() if value != defaults[name]}

    @property
    def study_name(self) -> str:
        """The given name, or one that the same settings always give."""
        return self.name or f"{self.family}-{digest_of(self.computed)[:6]}"

    @property
    def family(self) -> str:
        """Studies of one space on one kind of cohort share an MLflow experiment."""
        return f"{in_file_names(self.space)}-{self.cohort.partition(':')[0]}"

    @property
    def folder(self) -> Path:
        """Where the study's records are."""
        return self.studies / self.study_name

    @property
    def constraints(self) -> list[Constraint]:
        """What a feasible trial meets: the retain floor, and what was given.

        Raises:
            ConstraintError: for a text that is no constraint.
        """
        return [Constraint("retention", ">=", self.retain_floor), *map(parse_constraint, self.constraint)]

    def checked(self) -> tuple["StudySettings", list[str]]:
        """The settings with every option of its type and in its range, and what was not: that has its default."""
        values, problems = checked(StudySettings, vars(self))
        return StudySettings(**values), problems

    def absolute(self) -> "StudySettings":
        """The same with every path from the root of the disk, so that they hold in whichever folder they are read.

        A KIND:PATH whose PATH does not exist, as a phantom's, stays; so do names of requests.
        """
        kind, path = _KIND_AND_PATH.fullmatch(self.cohort).groups("")  # type: ignore[union-attr]  # every text is one
        return replace(
            self,
            cohort=f"{kind}:{absolute_path(path)}" if path and Path(path).expanduser().exists() else self.cohort,
            label_map=absolute_path(self.label_map),
            groups=absolute_path(self.groups),
            weights=self.weights if self.weights == "medicalnet" else absolute_path(self.weights),
            storage=self.storage if "://" in self.storage else absolute_path(self.storage),
            tracking_uri=absolute_store(self.tracking_uri),
            optuna_storage=absolute_store(self.optuna_storage),
            studies=Path(absolute_path(str(self.studies))),
        )

    @classmethod
    def from_plain(cls, stored: Mapping[str, Any]) -> "StudySettings":
        """The settings that `plain` gave, in this version or an earlier one, which lacks what came later.

        Raises:
            StudyError: for options that this version does not have, or values that they cannot have.
        """
        unknown = sorted(set(stored) - option_names(cls))
        if unknown:
            options = ", ".join(f"--{option_of(name)}" for name in unknown)
            raise StudyError(f"this version of Lethe does not know {options}: was that written by a later one?")
        values, problems = checked(cls, stored)
        if problems:
            raise StudyError(problems)
        return cls(**values)

    def plain(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        lists = {"knobs": list(self.knobs), "constraint": list(self.constraint)}
        return {**asdict(self), **lists, "studies": str(self.studies)}


def option_names(kind: type) -> set[str]:
    """The fields of a group of options, or of all."""
    return {option.name for option in fields(kind)}


_CHANGEABLE = {"explain", "trials"}.union(*map(option_names, (EvidenceOptions, RecordOptions, ClusterOptions)))
"""Options that a study may change on its way."""
