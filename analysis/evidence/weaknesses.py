"""How far the evidence of a study can be trusted."""

from analysis.statistics import membership


def weaknesses(forget: int, heldout: int, references: int, draws: int) -> list[str]:
    """What makes the evidence of these numbers of subjects, references and draws weak, one sentence each."""
    sentences = []
    if min(forget, heldout) < membership.FEW:
        sentences.append(
            f"Membership attacks compare {forget} forget with {heldout} held-out subjects: an AUC says little"
            + ("." if draws else "; --forget-draws K pools over random forget sets.")
        )
    if references < 2:
        sentences.append(
            f"{references} retrained reference for the report: no prediction interval; give --references 3."
        )
    elif references < 5:
        sentences.append(f"{references} retrained references for the report: their prediction interval is wide.")
    return sentences
