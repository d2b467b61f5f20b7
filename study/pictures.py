"""`python -m study.pictures`: what a trial's network sees, beside the reference and the baseline."""

import base64
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import tyro
from rich.console import Console
from rich.markup import escape as plain

from analysis import numbers
from analysis.figures.slices import mid_slices, slice_through
from analysis.reports.page import write_page
from study.networks.weights import Networks, networks_again
from study.planning.plan import Plan
from study.records.command_lines import command
from study.records.failure import StudyError
from study.records.files import studies_folder
from study.records.front import named_or_picked
from study.records.reading import named_study
from study.records.study_record import SplitRecord
from trainables.cache_entries import appearing
from trainables.cohorts.grid import Grid, restore
from trainables.device import default_device, shared_tensor
from trainables.evaluation import probabilities
from trainables.fitting import network_of

_SHOWN = 2
"""Subjects of a set that are shown unless some are named."""


@dataclass(frozen=True)
class PicturesSettings:
    """Draw segmentations before and after a trial, and write them as NIfTI files over the original scans.

    A page with middle slices and walks through the slices of retain and held-out subjects: reference, baseline and
    unlearned side by side. Pictures hold voxels of those subjects; forget subjects are shown only if you ask.

    For example:
      python -m study.pictures noisy_label-phantom-9f6626
      python -m study.pictures NAME --trial 5dcedb820709 --show-forget --to pictures
    """

    study: Annotated[str, tyro.conf.Positional]
    """Name of the study."""
    trial: str = ""
    """Id of the trial; by default the best feasible one."""
    subjects: str = ""
    """Pseudonyms of the subjects, comma-separated; by default the first two of each set."""
    show_forget: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show forget subjects too: their voxels leave the study's cache."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies."""
    to: Path | None = None
    """Folder to write, which must not exist; by default <studies>/<study>/pictures/<trial>, which is replaced."""


def draw(settings: PicturesSettings) -> None:
    """Write the folder; nothing appears unless all of it does.

    Raises:
        StudyError: an unknown study, trial or subject, a forget subject without --show-forget, a folder that exists,
            or a cohort that cannot be read.
    """
    console, study = Console(), named_study(settings.studies, settings.study)
    folder = settings.studies / settings.study
    row = named_or_picked(study.rows, study.objective, settings.trial)
    subjects = _subjects(study.split, settings)
    target = settings.to or folder / "pictures" / row.id
    if settings.to and settings.to.exists():
        raise StudyError(f"--to: {settings.to} exists already")
    networks = networks_again(study, folder, row)
    parts = [f"<h1>{escape(row.id)}: {escape(row.strategy)}</h1>"]
    parts.append(
        f"<p>Study {escape(study.name)}. Retain Dice {numbers.metric(row.metric('retain_dice'))}, forget Dice"
        f" {numbers.metric(row.metric('forget_dice'))}. L and R are the subject's left and right, P and A posterior"
        " and anterior.</p>"
    )
    with appearing(target) as made:
        for name, scan in _scans(networks.plan, subjects):
            console.print(name, highlight=False)
            parts += _one(networks, scan, name, made)
        classes = "".join(f"{place}\t{name}\n" for place, name in enumerate(networks.plan.cohort.class_names))
        (made / "classes.tsv").write_text(f"index\tname\n{classes}", encoding="utf-8")
        write_page(made / "index.html", f"Pictures of {row.id}", parts)
        shutil.rmtree(target, ignore_errors=True)
    console.print(f"pictures        {plain(str(target / 'index.html'))}", highlight=False, soft_wrap=True)


def _subjects(split: SplitRecord, settings: PicturesSettings) -> dict[str, str]:
    """Pseudonym -> set of the subjects to show."""
    sets = ("retain", "heldout", "steering", "forget")
    of = {subject: name for name in sets for subject in getattr(split, name)}
    named = [part.strip() for part in settings.subjects.split(",") if part.strip()]
    if not named:
        shown = ("retain", "heldout", "forget") if settings.show_forget else ("retain", "heldout")
        return {subject: name for name in shown for subject in getattr(split, name)[:_SHOWN]}
    unknown = [subject for subject in named if subject not in of]
    if unknown:
        raise StudyError(f"--subjects: {', '.join(unknown)} is not in the study; its subjects are in study.json")
    hidden = [subject for subject in named if of[subject] == "forget"]
    if hidden and not settings.show_forget:
        raise StudyError(f"--subjects: {', '.join(hidden)} is to be forgotten; --show-forget shows it all the same")
    return {subject: of[subject] for subject in named}


def _scans(plan: Plan, subjects: dict[str, str]) -> Iterator[tuple[str, int]]:
    """The name and the index of every scan to draw: set, pseudonym and, where there are several, its number."""
    for subject, name in subjects.items():
        scans = plan.data.subsets[name][getattr(plan.split, name).index(subject)]
        for number, scan in enumerate(scans, 1):
            yield f"{name}_{subject}" + (f"_{number}" if len(scans) > 1 else ""), scan


def _one(networks: Networks, scan: int, name: str, folder: Path) -> list[str]:
    """Write a scan's files and return its part of the page."""
    plan, device = networks.plan, default_device()
    cohort, depth = plan.cohort, plan.settings.depth
    image = shared_tensor(cohort.images[scan : scan + 1], device)
    maps: dict[str, Any] = {"reference": cohort.labels[scan]}
    for kind, weights in (("baseline", networks.baseline), ("unlearned", networks.unlearned)):
        network = network_of(weights, depth, plan.data.classes).eval()
        found = probabilities(network, image)[0]
        maps[kind] = found.argmax(0).cpu().numpy()
        grid = Grid(cohort.images.shape[1:], cohort.spacing_mm)
        nib.save(restore(cohort.scans[scan], grid, found), folder / f"{name}_{kind}.nii.gz")
    title = name.replace("_", " ").replace("heldout", "held-out")
    given = cohort.images[scan], maps, cohort.class_names, cohort.spacing_mm, title
    still = mid_slices(*given)
    (folder / f"{name}.png").write_bytes(still)
    slice_through(*given, file=str(folder / f"{name}.gif"))
    moving = (folder / f"{name}.gif").read_bytes()
    files = ", ".join(f"<code>{name}_{kind}.nii.gz</code>" for kind in ("baseline", "unlearned"))
    pictures = {"middle slices": ("png", still), "walk through the slices": ("gif", moving)}
    return [
        f"<h2>{escape(title)}</h2>",
        *(
            f'<img style="max-width:100%" alt="{escape(f"{title}: {what}")}"'
            f' src="data:image/{kind};base64,{base64.b64encode(held).decode()}">'
            for what, (kind, held) in pictures.items()
        ),
        f"<p>NIfTI, over the original scan: {files}</p>",
    ]


main = command(PicturesSettings, draw, "python -m study.pictures")

if __name__ == "__main__":
    sys.exit(main())
