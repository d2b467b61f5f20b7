"""Medical Segmentation Decathlon (arXiv 2106.05735): `dataset.json`, `imagesTr/`, `labelsTr/`."""

import json
from pathlib import Path
from typing import Any

from trainables.cohorts.cohort import Listing, Scan, Subject


def read(path: Path, contrast: str | None = None) -> Listing:
    """Lists the training cases of `dataset.json`, each as one subject with one scan.

    Args:
        contrast: a modality named in `dataset.json`; the first channel by default.
    """
    file = path / "dataset.json"
    if not file.is_file():
        return Listing((), problems=(f"{file}: no such file",))
    try:
        dataset: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        names = {int(value): str(name) for value, name in dataset["labels"].items()}
        modalities = {str(name): int(channel) for channel, name in dataset.get("modality", {}).items()}
        cases = [(path / case["image"], path / case["label"]) for case in dataset["training"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Listing((), problems=(f"{file}: not a Decathlon description ({error!r})",))
    if contrast is not None and contrast not in modalities:
        problem = f"{file}: no modality {contrast!r}; it has {', '.join(modalities) or 'none'}"
        return Listing((), names, problems=(problem,))
    channel = modalities[contrast] if contrast is not None else 0
    subjects = tuple(_subject(image, label, channel) for image, label in sorted(cases))
    return Listing(subjects, names, problems=() if subjects else (f"{file}: no training case",))


def _subject(image: Path, label: Path, channel: int) -> Subject:
    identity = image.name.removesuffix(".gz").removesuffix(".nii")
    return Subject(identity, (Scan(identity, image, label, channel),))
