"""`python -m study.export`: the unlearned network of a study, with its model card and erasure report."""

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from analysis.evidence.verdict import REMEMBERS
from analysis.figures.charts import subjects_figure
from analysis.reports.erasure import erasure_report, write_report
from study.records.command_lines import command, trial_command
from study.records.constraints import violations
from study.records.failure import StudyError
from study.records.files import replace_file, studies_folder, write_json
from study.records.front import named_or_picked
from study.records.reading import StudyData, named_study
from study.records.rows import TrialRow
from study.records.study_record import StudyRecord
from trainables.cache_entries import appearing, file_sha256
from trainables.med3d import medicalnet_layout

_SHORTCUTS = {10: "B", 18: "A", 34: "A", 50: "B"}


@dataclass(frozen=True)
class ExportSettings:
    """Write an unlearned network as MedicalNet weights, with preprocessing settings, model card and erasure report.

    For example:
      python -m study.export --study noisy_label-phantom-9f6626 --pick closest --to unlearned
    """

    study: str
    """Name of the study."""
    to: Path
    """Folder to write; it must not exist."""
    trial: str = ""
    """Id of the trial; by default the pick."""
    pick: Literal["best", "closest"] = "best"
    """The feasible trial with the largest objective, or the one closest to a network that never saw the subjects."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies."""
    allow_infeasible: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Export a trial whose retain Dice lies below the floor."""
    despite: Literal["", "remembers"] = ""
    """Export a trial that still remembers who was to be erased, for a --reason that its reports then tell."""
    reason: str = ""
    """Why."""


def export(settings: ExportSettings) -> None:
    """Write the folder; nothing appears unless all of it does.

    Raises:
        StudyError: a study that cannot be read, an unknown, unfinished or infeasible trial, a folder that exists; or
            the trial was not kept, and the cohort cannot be read or has changed.
    """
    folder = settings.studies / settings.study
    study = named_study(settings.studies, settings.study)
    row = _trial(study, settings)
    if settings.to.exists():
        raise StudyError(f"--to: {settings.to} exists already")
    state = medicalnet_layout(_weights(folder, study, row))
    with appearing(settings.to) as made:
        save_file(state, made / "model.safetensors")
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, made / "model.pth")
        write_json(made / "preprocessing.json", _preprocessing(study))
        report = erasure_report(study, row)
        report["despite"] = settings.reason if row.evidence.get("verdict") == settings.despite else ""
        report["hashes"] = {name: file_sha256(made / name) for name in ("model.safetensors", "model.pth")}
        report["hashes"]["cohort"] = study.cohort.digest
        report["command"] = trial_command(study, row)
        write_report(report, subjects_figure(study, row.id, row.epochs_done), made)
        replace_file(made / "README.md", lambda path: path.write_text(_card(report, study), encoding="utf-8"))
    say = partial(Console().print, highlight=False, soft_wrap=True)
    say(f"trial {row.id} of {settings.study} is in {escape(str(settings.to))}")
    for warning in report["warnings"]:
        say(f"[yellow]{escape(warning)}[/yellow]")


def _trial(study: StudyData, settings: ExportSettings) -> TrialRow:
    if bool(settings.despite) != bool(settings.reason):
        raise StudyError("--despite and --reason go together: say why")
    row = named_or_picked(study.rows, study.objective, settings.trial, settings.pick)
    if row.evidence.get("verdict") == REMEMBERS != settings.despite:
        raise StudyError(
            f"trial {row.id} remembers who was to be erased: {row.evidence['reasons']}; --pick closest or another"
            f" --trial may not, --despite {REMEMBERS} --reason TEXT exports it all the same"
        )
    if not (row.feasible or settings.allow_infeasible):
        missed = [name for name, by in violations(study.constraints, row.results, row.diverged).items() if by > 0]
        raise StudyError(
            f"trial {row.id} is infeasible ({'diverged' if row.diverged else 'misses ' + ', '.join(missed)});"
            " --allow-infeasible exports it all the same"
        )
    return row


def _weights(folder: Path, record: StudyRecord, row: TrialRow) -> dict[str, torch.Tensor]:
    kept = folder / "front" / row.id / "weights.safetensors"
    with contextlib.suppress(OSError, SafetensorError):
        return load_file(kept)
    from study.networks.weights import networks_again  # needs Ray and the cohort, which a kept trial does not

    return {name: torch.tensor(value) for name, value in networks_again(record, folder, row).unlearned.items()}


def _preprocessing(record: StudyRecord) -> dict[str, Any]:
    """What must be done to a scan before the network, and to its output after it."""
    cohort = record.cohort
    return {
        "network": {"name": "Med3D", "depth": record.settings.depth, "classes": cohort.classes},
        "axes": ["superior", "anterior", "right"],
        "shape": cohort.shape,
        "spacing_mm": cohort.spacing_mm,
        "contrast": record.settings.contrast or "the layout's default",
        "grid": "reorient to the axes, resample to the spacing, pad or crop around the centre to the shape",
        "intensity": "z-score over the non-zero voxels of a scan; zero elsewhere",
        "output": "logits at a quarter of the resolution; trilinear (align_corners=False) to the shape, then argmax",
    }


def _card(report: Mapping[str, Any], record: StudyRecord) -> str:
    metrics, cohort = report["metrics"], record.cohort

    def interval(name: str) -> str:
        metric = metrics[name]
        return f"{metric['mean']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]"

    warnings = [*report["warnings"], *([f"Exported all the same: {report['despite']}"] if report["despite"] else [])]
    listed = "\n".join(f"- {warning}" for warning in warnings or ["No warning was raised."])
    return f"""# Med3D-{record.settings.depth}, unlearned

A 3D segmentation network ({", ".join(cohort.classes)}) from which {len(record.split.forget)} of its training
subjects were to be erased by {report["strategy"]} (trial {report["trial"]} of study {report["study"]}).
What the evidence found: **{report["verdict"]}**. {report["reasons"]}
{report["price"]}
{report["repeats"]}

| metric | mean [95 % interval over subjects] |
|---|---|
| retain Dice | {interval("retain_dice")} |
| forget Dice | {interval("forget_dice")} |
| held-out Dice | {interval("heldout_dice")} |
| retention | {interval("retention")} |

All of the evidence, with the subjects' pseudonyms: [report.html](report.html).

## How far to trust it
{listed}
- Research software, no medical device; no legal opinion on what a deletion request demands.

## Files
`model.safetensors` (MedicalNet's names, no prefix), `model.pth` (`state_dict` with the prefix `module.`, as it saves
its own), `preprocessing.json` (what a scan must go through), `report.json`, `report.html`.

## Use
`model.pth` loads in its own code (`--resume_path`). In MONAI, the encoder (its last two layers still to be dilated):
```python
from monai.networks.nets import resnet{record.settings.depth} as resnet
from safetensors.torch import load_file

state = load_file("model.safetensors")
encoder = resnet(spatial_dims=3, n_input_channels=1, conv1_t_stride=2, feed_forward=False,
                 shortcut_type="{_SHORTCUTS[record.settings.depth]}", bias_downsample=False)
encoder.load_state_dict({{name: value for name, value in state.items() if not name.startswith("conv_seg.")}})
```

## Reproduce
```
{report["command"]}
```
"""


main = command(ExportSettings, export, "python -m study.export")

if __name__ == "__main__":
    sys.exit(main())
