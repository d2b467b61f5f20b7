"""The metrics that are installed."""

from collections.abc import Iterable
from contextlib import suppress

from study.records.constraints import ConstraintError, parse
from study.records.metrics import Metric, metric_table, of_scans
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
    views = Metric("forget_dice_views", "Forget Dice under views", "", -1, 0, 1, "forget")
    derived = [Metric(name, gap.title, gap.unit, gap.better, gap.low, gap.high) for name, gap in GAPS.items()]
    return metric_table(*scans, [views], derived)


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
