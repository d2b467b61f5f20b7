"""The metrics that a study has: those that are installed, and those that its earlier sessions had."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from study.records.constraints import ConstraintError, parse
from study.records.metrics import Metric, metric_table, of_scans, recorded
from trainables.gaps import GAPS
from trainables.scan_metric import scan_metrics


def installed_metrics() -> dict[str, Metric]:
    """What an epoch of a trial is measured by today.

    Raises:
        ValueError: an installed metric cannot be used.
    """
    scans = [
        of_scans(name, metric.title, metric.unit, metric.better, metric.low, metric.high)
        for name, metric in scan_metrics().items()
    ]
    derived = [Metric(name, gap.title, gap.unit, gap.better, gap.low, gap.high) for name, gap in GAPS.items()]
    return metric_table(*scans, derived)


def study_metrics(folder: Path) -> dict[str, Metric]:
    """The metrics of the tables in a study's folder; one that is no longer installed has no value from now on.

    Raises:
        ValueError: an installed metric cannot be used.
    """
    record = folder / "study.json"
    before = recorded(json.loads(record.read_text(encoding="utf-8"))) if record.is_file() else {}
    return {**before, **installed_metrics()}


def constraint_problems(texts: Iterable[str]) -> list[str]:
    """What constraints are on although nothing measures it; a text that is none is a problem of its option."""
    try:
        metrics = installed_metrics()
    except ValueError as error:
        return [str(error)]
    problems = []
    for text in texts:
        with suppress(ConstraintError):
            parse(text)
            try:
                parse(text, metrics)
            except ConstraintError as error:
                problems.append(f"--constraint: {error}")
    return problems
