"""Shadow networks for attacks on membership: fitted on random halves of the subjects, as the baseline is."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.evidence.conclusion import Shadows
from study.networks.references import Fit
from study.planning.plan import Plan
from trainables.data import Sets, Subset, TrialData
from trainables.evidence.scores import Scores
from trainables.seeds import seed_for


def shadow_fits(plan: Plan) -> dict[str, Fit]:
    """Shadow networks by name, in pairs: one is taught a random half of every set of subjects, one the other half."""
    fits = {}
    for number in range(plan.settings.shadows):
        pair, second = divmod(number, 2)
        rng = np.random.default_rng(seed_for(plan.settings.seed, f"shadow/{pair}"))
        taught: list[tuple[int, ...]] = []
        for subset in plan.data.subsets.values():
            order = rng.permutation(len(subset))
            half = (len(subset) + pair % 2) // 2  # an odd one out goes to the second network of every other pair
            chosen = order[half:] if second else order[:half]
            taught += [subset[place] for place in sorted(chosen)]
        fits[f"shadow-{number}"] = Fit(tuple(taught), seed_for(plan.settings.seed, f"shadow fit/{number}"))
    return fits


def shadow_split(data: TrialData, taught: Subset) -> Sets:
    """A shadow unlearns those of the forget and held-out subjects that it was taught, and retains the others."""
    forget = tuple(subject for subject in taught if subject in data.forget + data.heldout)
    retain = tuple(subject for subject in taught if subject not in forget)
    return Sets(retain, forget)


def worlds(targets: Subset, fits: Mapping[str, Fit], before: Sequence[Scores], after: Sequence[Scores]) -> Shadows:
    """What the shadows say of the target subjects.

    Args:
        targets: the forget, then the held-out subjects.
        fits: of the shadows.
        before: each shadow's scores of the targets as it was fitted.
        after: the same after unlearning; `before` again for a network that unlearned nothing.
    """
    had = np.array([[subject in fit.taught for fit in fits.values()] for subject in targets])
    fitted = {name: _stacked(before, name) for name in ("dice", "cross_entropy")}
    return Shadows(had, fitted, _stacked(after, "confidence"))


def _stacked(networks: Sequence[Scores], score: str) -> np.ndarray:
    return np.stack([getattr(scores, score) for scores in networks], 1)


def other_forget_set(data: TrialData, seed: int) -> Sets:
    """As many forget subjects, drawn from all that the baseline was trained on; the rest of those is retained."""
    pool = data.retain + data.forget
    order = np.random.default_rng(seed).permutation(len(pool))
    chosen = set(order[: len(data.forget)].tolist())
    forget = tuple(subject for place, subject in enumerate(pool) if place in chosen)
    retain = tuple(subject for place, subject in enumerate(pool) if place not in chosen)
    return Sets(retain, forget)
