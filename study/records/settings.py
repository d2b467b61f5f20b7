"""Every option of a study: one frozen dataclass, from which the command line is generated."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from study.records.constraints import Constraint
from study.records.constraints import parse as parse_constraint
from study.records.files import digest_of, in_file_names, studies_folder

SamplerName = Literal["tpe", "nsga2", "nsga3", "gp", "random", "grid", "qmc"]


@dataclass(frozen=True)
class StudySettings:
    """Find the unlearning recipe that forgets some subjects of a segmentation cohort and keeps the others.

    A study fits its references (the baseline on retain + forget subjects, retrained ones on retain
    subjects only), then searches a space of unlearning recipes for the largest Dice gap (retain - forget) whose
    retain Dice stays above a floor. Its records go to <studies>/<name>/ and to MLflow. The same command again
    continues where the last one stopped.

    For example:
      python -m study.run --space noisy_label
      python -m study.run --space noisy_label --cohort decathlon:Task04_Hippocampus --forget-count 3 --trials 30
      python -m study.run --space mechanics --set forget=ascent --set lr=1e-4..1e-3 --objective retrain
      python -m study.run --space noisy_label --explain
      python -m study.run --space noisy_label --objective front --sampler nsga2 --constraint 'seconds<=600'
      python -m study.run --space paper --horizons 20,50 --seeds 3
      python -m study.run --space noisy_label --cohort decathlon:DIR --requests plan.yaml
      python -m study.run --resume NAME --trials 60
    """

    space: str = ""
    """What to search: the name of a file in search_spaces/ (`paper` is a suite of fixed recipes)."""
    knobs: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="set", metavar="KNOB=...")] = ()
    """Hold a knob, or search it elsewhere: KNOB=VALUE, KNOB=LOW..HIGH[/STEP] or KNOB=A|B|C; once for each knob."""
    explain: bool = False
    """Print the search space and stop."""
    objective: Literal["gap", "retrain", "unseen", "front", "front_seconds"] = "gap"
    """Largest Dice gap, or forget Dice closest to a retrained model's, or to unseen subjects'; or the whole front of
    retain against forget Dice, with or without seconds."""
    constraint: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="METRIC>=BOUND")] = ()
    """What a feasible trial meets beside the retain floor, as retain_dice>=0.75 or seconds<=600; once for each."""
    sampler: SamplerName = "tpe"
    """What chooses the trials: tpe, nsga2, nsga3, gp steer by the constraints; random, grid, qmc do not look."""
    enqueue: bool = True
    """Try the published configurations of the space first."""
    warm_start: str = ""
    """Name of an earlier study of this space on this cohort; its trials teach the search."""
    early_stopping: bool = False
    """Stop the worst quarter of the trials that got as far (ASHA on epochs); not for the front. It saves little:
    early epochs hardly foretell the result (benchmarks/README.md)."""
    grace: int | None = None
    """Epochs that early stopping leaves every trial; by default three quarters of the longest trial."""
    horizons: str = ""
    """Epochs after which each recipe of a suite is reported, comma-separated; by default the suite's own."""
    seeds: int | None = None
    """Trials of each recipe of a suite, with seeds of their own; by default the suite's own number."""
    cohort: str = "phantom"
    """KIND:PATH of the scans: mrbrains18:DIR, medicalnet:FILE, decathlon:DIR, bids:DIR, phantom[:48x240x240,7]."""
    contrast: str = ""
    """Image contrast where a layout has several: reg_T1 (mrbrains18), T1w (bids), a modality (decathlon)."""
    label_map: str = ""
    """CSV file with the columns from,to,name that merges label values."""
    groups: str = ""
    """CSV file with the columns scan,subject, for layouts where several scans are one person and nothing says so."""
    shape: str = ""
    """Voxels D,H,W of the common grid; by default the cohort's largest extent in multiples of 8."""
    forget: str = ""
    """Ids of the subjects to forget, comma-separated."""
    forget_count: int | None = None
    """Forget this many subjects, drawn by the seed (default: a fifth of the cohort)."""
    requests: str = ""
    """Deletion requests in the order in which they come: a YAML file (docs/formats.md), or ids as one/two,three."""
    heldout: str = ""
    """Ids of the subjects that no model is trained on, comma-separated."""
    heldout_count: int | None = None
    """Hold this many subjects out, drawn by the seed (default: a fifth of the cohort)."""
    retain_count: int | None = None
    """Retain this many subjects, drawn by the seed, and leave the others out (default: all the rest)."""
    depth: int = 10
    """Layers of the Med3D network: 10, 18, 34 or 50."""
    weights: str = ""
    """MedicalNet checkpoint that the references start from: a file, or `medicalnet` to download it."""
    baseline_epochs: int = 100
    """Epochs of the reference fits."""
    baseline_lr: float = 1e-3
    """Learning rate (AdamW) of the reference fits."""
    references: int = 3
    """Retrained references, fitted with seeds of their own."""
    trials: int = 24
    """Trials of the study in all; give more with --resume to extend it."""
    epochs: int | None = None
    """Longest trial, in epochs; by default the search space's own."""
    retain_floor: float = 0.9
    """A trial is feasible if its retain Dice is at least this fraction of the baseline's."""
    seed: int = 0
    """Root of every draw: split, initial weights, batches, noise and search."""
    evidence: bool = True
    """Gather evidence of forgetting on the references and the front once the trials are done."""
    shadows: int = 4
    """Shadow networks for the likelihood-ratio attacks, fitted on random halves of the subjects; 0 for none."""
    forget_draws: int = 0
    """Further random forget sets over which membership attacks are pooled."""
    examine: str = ""
    """Ids of trials to gather evidence on beside the front's, comma-separated."""
    name: str = ""
    """Name of the study's folder; by default made of space, cohort and a hash of the settings."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies and the embedded MLflow store."""
    tracking_uri: str = ""
    """MLflow server or store; by default sqlite:///<studies>/mlflow.db."""
    optuna_storage: str = ""
    """Database URL that keeps the Optuna study, for optuna-dashboard; by default it is in memory only."""
    storage: str = ""
    """Where trials keep their state on a cluster: a folder that all nodes share, or s3://BUCKET/FOLDER; by default
    the study's folder."""
    address: str = ""
    """Ray cluster to run on: HOST:6379, or ray://HOST:10001 from a machine outside; by default that of this machine,
    if there is one (`ray start`, `ray submit`), else Ray is started here."""
    cpus_per_trial: int | Literal["auto"] | None = None
    """CPUs of a trial; by default as many as the trials at a time leave each other. `auto` tries a step, and gives
    so many that a node's memory holds its trials."""
    gpus_per_trial: float | Literal["auto"] | None = None
    """GPUs of a trial, fractions allowed; by default a whole one, or less where --concurrent asks for more trials.
    `auto` tries a step on each kind of GPU there is, and packs as many trials on one as its memory holds."""
    concurrent: int | None = None
    """Trials at a time; by default as many as there are CPUs or GPUs. 1 makes a study repeatable bit for bit."""
    resume: str = ""
    """Continue this study; options given beside it change it where they may."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """Show the logs of Ray, Optuna and MLflow."""

    @property
    def computed(self) -> dict[str, Any]:
        """The settings that decide what a trial computes; a study never changes them."""
        return {name: value for name, value in self.plain().items() if name not in _CHANGEABLE}

    @property
    def study_name(self) -> str:
        """The given name, or one that the same settings always give."""
        kind = self.cohort.partition(":")[0]
        return self.name or f"{in_file_names(self.space)}-{kind}-{digest_of(self.computed)[:6]}"

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

    @classmethod
    def from_plain(cls, stored: Mapping[str, Any]) -> "StudySettings":
        """The settings that `plain` gave.

        Raises:
            KeyError, TypeError: for options that this version does not have, or lacks.
        """
        lists = {name: tuple(stored[name]) for name in ("knobs", "constraint")}
        return cls(**{**stored, **lists, "studies": Path(stored["studies"])})

    def plain(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        lists = {"knobs": list(self.knobs), "constraint": list(self.constraint)}
        return {**asdict(self), **lists, "studies": str(self.studies)}


_CHANGEABLE = {
    "trials",
    "explain",
    "evidence",
    "shadows",
    "forget_draws",
    "examine",
    "name",
    "studies",
    "tracking_uri",
    "optuna_storage",
    "concurrent",
    "storage",
    "address",
    "cpus_per_trial",
    "gpus_per_trial",
    "resume",
    "verbose",
}


def parse(arguments: list[str] | None = None, default: StudySettings | None = None) -> StudySettings:
    """The settings that a command line gives; exits with code 2 and a message on a wrong one."""
    return tyro.cli(StudySettings, prog="python -m study.run", args=arguments, default=default or StudySettings())
