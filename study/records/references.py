"""The names of a study's references, as its tables and pages have them."""

BASELINE, RETRAINED = "baseline", "retrained"
"""Trained on retain + forget subjects, and on retain subjects alone from the same initial weights.

The latter is the one retrained reference that trials are measured by; `retrained-1`, `retrained-2`, ... have other
seeds and are seen by the evidence only.
"""


def retrained_names(count: int) -> tuple[str, ...]:
    """The names of so many retrained references."""
    return (RETRAINED, *(f"{RETRAINED}-{number}" for number in range(1, count)))
