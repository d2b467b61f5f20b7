"""What a trial that may be shipped costs, what stands against it, and what its recipe gives with other seeds."""

from collections import Counter
from collections.abc import Sequence

from analysis import numbers
from analysis.evidence.verdict import CANNOT_TELL, OVER_FORGETS, REMEMBERS
from analysis.reports.terminal_tables import verdict as verdict_on
from analysis.statistics.price import price
from analysis.statistics.repeats import FIGURES, varied
from study.records.reading import StudyData
from study.records.rows import NetworkRow, TrialRow

ONE_DRAW = "The claim about the recipe is that spread, and the network in the file one draw of it."

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
    """The price beside retraining, what stands against the trial once it has evidence, and its recipe's repeats."""
    cost = price(study, row)
    against = shortfalls(row, study.settings.retain_floor) if row.examined else []
    return [*([str(cost)] if cost else []), *against, *filter(None, [recipe_again(study, row)])]


def recipe_again(study: StudyData, row: TrialRow) -> str:
    """What the trial's recipe gave with further seeds, in a sentence; empty if it was not repeated."""
    repeats = study.repeats_of(row.id)
    if not repeats:
        return ""
    figures = [
        f"{FIGURES[column]} {found.mean:.2f} ({found.low:.2f} to {found.high:.2f})"
        for column, found in varied(repeats).items()
    ]
    told = ", ".join([*figures, verdicts(repeats)])
    return f"Its recipe over {numbers.counted(len(repeats), 'further seed')}: {told}."


def verdicts(rows: Sequence[NetworkRow]) -> str:
    """Each verdict with how many have it, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in Counter(map(verdict_on, rows)).most_common())
