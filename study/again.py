"""Run a recorded trial again: from its study's record to its weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import ray

from study.plan import make_plan
from study.references import BASELINE, fit_digests, fit_networks, reference_fits
from study.resources import share
from study.settings import StudySettings
from study.weights import trial_weights
from trainables.cohorts.cache import cache_dir


def weights_again(record: Mapping[str, Any], folder: Path, row: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weights of a trial that was not kept, on a Ray of its own; the cohort must still be there.

    Raises:
        PlanError: the cohort cannot be read.
    """
    settings = StudySettings(**{**record["settings"], "studies": folder.parent, "name": folder.name})
    plan = make_plan(settings)
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        resources = share(settings.concurrent)
        fits = {BASELINE: reference_fits(plan)[BASELINE]}
        references = fit_networks(
            plan, fits, fit_digests(plan, fits), cache_dir(), resources, lambda name, report: None
        )
        return trial_weights(plan, references, resources, row)
    finally:
        ray.shutdown()
