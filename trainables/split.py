"""Who is retained, forgotten and held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainables.cohorts.cohort import CohortError
from trainables.seeds import seed_for


@dataclass(frozen=True)
class Split:
    """Subject ids, each in at most one set, sorted; `steering` holds held-out subjects that steer a search."""

    retain: tuple[str, ...]
    forget: tuple[str, ...]
    heldout: tuple[str, ...]
    steering: tuple[str, ...] = ()

    def steered(self, seed: int) -> "Split":
        """Half of the held-out subjects, drawn by the seed, set apart to steer; a single one stays as it is."""
        order = np.random.default_rng(seed_for(seed, "steering")).permutation(len(self.heldout))
        steering = {self.heldout[place] for place in order[: len(self.heldout) // 2]}
        left = tuple(subject for subject in self.heldout if subject not in steering)
        return replace(self, heldout=left, steering=tuple(sorted(steering)))


def split_subjects(
    subjects: Sequence[str],
    seed: int,
    forget: Sequence[str] = (),
    heldout: Sequence[str] = (),
    forget_count: int | None = None,
    heldout_count: int | None = None,
    retain_count: int | None = None,
) -> Split:
    """A pure function of the ids, the seed and the user's lists.

    Named subjects go where they are named. A set without names gets `*_count` subjects drawn by the seed, by
    default a fifth of the cohort, rounded, at least one. All others are retained, or `retain_count` of them.

    Raises:
        CohortError: naming every id that does not exist or stands in both lists, and counts that leave fewer
            than one subject in a set.
    """
    names = sorted(subjects)
    problems = [
        f"--{option}: no subject {subject!r} in the cohort (its subjects: {_some(names)})"
        for option, listed in (("forget", forget), ("heldout", heldout))
        for subject in listed
        if subject not in names
    ]
    problems += [f"--forget and --heldout both name subject {s!r}" for s in sorted({*forget} & {*heldout})]
    default = max(1, round(len(names) / 5))
    sizes = {
        "forget": len(set(forget)) if forget else default if forget_count is None else forget_count,
        "heldout": len(set(heldout)) if heldout else default if heldout_count is None else heldout_count,
    }
    left = len(names) - sum(sizes.values())
    sizes["retain"] = left if retain_count is None else retain_count
    if sizes["retain"] > left:
        problems.append(f"--retain-count {retain_count}, but only {left} subjects are left to retain")
    problems += [
        f"{size} {name} subjects of {len(names)} in the cohort: every set needs at least one"
        for name, size in sizes.items()
        if size < 1
    ]
    if problems:
        raise CohortError(problems)
    free = [name for name in names if name not in {*forget, *heldout}]
    drawn = [free[i] for i in np.random.default_rng(seed_for(seed, "split")).permutation(len(free))]
    forgotten = sorted(set(forget)) or drawn[: sizes["forget"]]
    held = sorted(set(heldout)) or drawn[len(drawn) - sizes["heldout"] :]
    rest = [name for name in drawn if name not in {*forgotten, *held}][:retain_count]
    return Split(tuple(sorted(rest)), tuple(sorted(forgotten)), tuple(sorted(held)))


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", ... {len(names)} in all" if len(names) > most else "")
