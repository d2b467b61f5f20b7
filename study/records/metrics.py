"""The metrics of an epoch and of a trial."""

SUBJECT_METRICS = ("dice", "mae")
"""The metrics of a subject."""

METRICS = (
    *(f"{subset}_{metric}" for metric in SUBJECT_METRICS for subset in ("retain", "forget", "heldout")),
    *("dice_gap", "mae_gap", "retention", "retrain_gap", "unseen_gap"),
)
"""Every metric of an epoch and of a trial, as defined in docs/metrics.md; all float, NaN where undefined."""
