"""Lethe's procedural brain cohort: `phantom:` or `phantom:DxHxW[,SUBJECTS][,seed=SEED]`, written, then read."""

from pathlib import Path

from trainables.cohorts.cache import cache_dir
from trainables.cohorts.cohort import Listing
from trainables.cohorts.phantom.writing import parse_spec, phantom_folder
from trainables.cohorts.readers import mrbrains18


def read(path: Path, contrast: str | None = None) -> Listing:
    """Writes the cohort into the cache unless it is there, and reads it as MRBrainS18.

    Args:
        path: no path but a specification, see `phantom.writing.GRAMMAR`; empty for the default cohort.
        contrast: as `mrbrains18.read`.
    """
    try:
        spec = parse_spec(str(path))
    except ValueError as error:
        return Listing((), problems=(str(error),))
    return mrbrains18.read(phantom_folder(spec, cache_dir()), contrast)
