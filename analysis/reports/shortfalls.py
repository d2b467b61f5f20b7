"""What a trial that may be shipped costs, and what stands against it."""

from analysis import numbers
from analysis.evidence.verdict import CANNOT_TELL, OVER_FORGETS, REMEMBERS
from analysis.statistics.price import price
from study.records.reading import StudyData
from study.records.rows import TrialRow

_SENTENCES = {
    REMEMBERS: "It still remembers who was to be erased",
    OVER_FORGETS: "It treats the erased worse than strangers, which marks them",
    CANNOT_TELL: "Whether it remembers cannot be told",
}


def shortfalls(row: TrialRow, retain_floor: float) -> list[str]:
    """One sentence each, none where nothing does; the verdict's reasons stand beside the verdict.

    Args:
        row: the trial.
        retain_floor: share of the baseline's Dice that held-out subjects should keep as well.
    """
    verdict, kept = row.evidence.get("verdict"), row.metric("heldout_retention")
    sentences = []
    if kept < retain_floor:
        share = numbers.metric(kept)
        sentences.append(f"Held-out Dice fell to {share} of the baseline's, below the floor of {retain_floor:g}.")
    if verdict in _SENTENCES:
        sentences.append(f"{_SENTENCES[verdict]}.")
    if not row.examined:
        sentences.append("No evidence was gathered: nothing is known of what it remembers.")
    return sentences


def remarks(study: StudyData, row: TrialRow) -> list[str]:
    """The price beside retraining, then what stands against the trial; nothing of the latter before its evidence."""
    cost = price(study, row)
    against = shortfalls(row, study.settings.retain_floor) if row.examined else []
    return [*([str(cost)] if cost else []), *against]
