"""Residual memory: where a network stands between those that never saw a subject (0) and those that saw it (1).

Every subject is its own control: what networks that never saw it give, and what those give that saw it, differ by
memory alone, however hard the subject is. Three choices make few never-seen networks enough:

- a loss is compared by its logarithm (whoever measures sees to that);
- from each value its network's mean over the held-out subjects, whom nobody saw, is taken away: some networks are
  simply better;
- what is left then varies nearly alike for all subjects, so that each one's spread is drawn towards the one that is
  pooled over forget and held-out subjects (moderated: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004). A group has up
  to (networks - 1) * (subjects - 1) degrees of freedom in place of networks - 1, a single subject `PRIOR` more.

The residual is a ratio of two contrasts, and its interval Fieller's, which knows that the baseline is one network and
the never-seen ones are few. Where the baseline cannot be told from them a measure is blind, and says nothing.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.statistics.intervals import Interval

FAMILY = 0.025
"""Chance that any interval of a group, or any of a single subject, misses the truth: 95 % hold all together."""

ONE_SIDED = 0.05
"""Chance that a `clear` interval misses the truth on one side.

To claim that all of several measures lie within a margin needs no correction for their number, as a single one that
does not refutes it (two one-sided tests of each).
"""

PRIOR = 8
"""Degrees of freedom that the pooled spread is worth for a single subject's: how unlike subjects' spreads are.

Measured on hippocampi between eight never-seen networks: 5 to 17 by measure, over all of them 10 without
and 8 with augmentation (docs/evidence.md).
"""

_DRAWS, _CHUNK = 4000, 250


class Compared(NamedTuple):
    """A measure's values under the networks, NaN where undefined.

    The last axis holds forget and then held-out subjects. It may lack the latter, or be one long: one number for all
    forget subjects together.

    Larger values speak for memory, on every measure.

    Attributes:
        network: (S,) of the network that is judged.
        never: (R, S) of networks that never saw a forget subject.
        seen: (B, S) of networks that saw them all.
        resolution: standard deviation that rounding alone gives a value: never-seen networks that agree on a whole
            number spread by no less.
    """

    network: np.ndarray
    never: np.ndarray
    seen: np.ndarray
    resolution: float = 0.0


class Memory(NamedTuple):
    """What is left of what was memorised, by one measure.

    Attributes:
        group: mean over the forget subjects; unbounded where the measure is blind. For accusations: corrected.
        clear: the same with 90 %. For bounds: 95 % to each side, by this measure alone.
        subjects: of each forget subject; empty for a measure that gives one number for all of them.
        sides: of the group, then of each of `subjects`: 1 above what never-seen networks give, -1 below, 0 among
            them. Known of a blind measure too.
        references: how many never-seen networks it is judged by.
        level: two-sided level of `group`, corrected for the number of measures.
        freedom: degrees of freedom of the group that every further never-seen network adds.
        error: standard error of the group's residual, but for that of the never-seen networks' mean.
    """

    group: Interval
    clear: Interval
    subjects: tuple[Interval, ...]
    sides: tuple[int, ...]
    references: int
    level: float
    freedom: float
    error: float

    @property
    def blind(self) -> bool:
        """Networks that saw the subjects cannot be told from those that did not."""
        return not np.isfinite(self.group.low)

    def half_width(self, references: int) -> float:
        """About how far the clear interval would reach with so many never-seen networks."""
        quantile = stats.t.isf(ONE_SIDED, (references - 1) * self.freedom)
        return float(quantile * self.error * np.sqrt(1 + 1 / references))


def residual_memory(measures: Mapping[str, Compared], forget: int, seed: int = 0) -> dict[str, Memory]:
    """The residual memory by every measure that can be judged: all intervals hold together with 95 %.

    Args:
        measures: by name; one with fewer than two never-seen networks, or without a forget subject, is left out.
        forget: number of forget subjects.
        seed: of the draws that correct for the number of measures and subjects.
    """
    kept = {name: _Kept.of(compared, forget) for name, compared in measures.items()}
    kept = {name: values for name, values in kept.items() if len(values.never) > 1 and values.forget}
    levels = _levels(list(kept.values()), seed) if kept else (FAMILY, FAMILY)
    return {name: _memory(values, forget, levels) for name, values in kept.items()}


class _Kept(NamedTuple):
    """A measure's values of the subjects for whom every network has one, and which subjects these are."""

    network: np.ndarray
    never: np.ndarray
    seen: np.ndarray
    places: np.ndarray
    forget: int
    resolution: float

    @classmethod
    def of(cls, compared: Compared, forget: int) -> "_Kept":
        rows = np.concatenate([compared.network[None], compared.never, compared.seen])
        (places,) = np.nonzero(np.isfinite(rows).all(0))
        network, never, seen = np.split(rows[:, places], [1, 1 + len(compared.never)])
        return cls(network[0], never, seen, places, int((places < forget).sum()), compared.resolution)

    @property
    def heldout(self) -> int:
        return len(self.network) - self.forget

    def contrasts(self, values: np.ndarray, never: np.ndarray) -> np.ndarray:
        """(..., 1 + F): of the group and each forget subject, (..., S) values minus (..., R, S) never-seen ones."""
        differences = values - never.mean(-2)
        if self.heldout:
            differences = differences - differences[..., self.forget :].mean(-1, keepdims=True)
        forget = differences[..., : self.forget]
        return np.concatenate([forget.mean(-1, keepdims=True), forget], -1)

    def errors(self, never: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard errors of contrasts with the mean of endlessly many never-seen networks, and degrees of freedom.

        Both (..., 1 + F), of the group and each forget subject, from (..., R, S) never-seen networks.
        """
        networks, forget, heldout = never.shape[-2], self.forget, self.heldout
        centred = never - never.mean(-2, keepdims=True)
        if not heldout:
            alone = np.concatenate([centred.mean(-1, keepdims=True), centred], -1)
            errors = np.sqrt(np.square(alone).sum(-2) / (networks - 1))
            return np.maximum(errors, self.resolution), np.full(errors.shape, networks - 1.0)
        residuals = centred - centred.mean(-1, keepdims=True)
        variances = np.square(residuals).sum(-2) / ((networks - 1) * (1 - 1 / never.shape[-1]))
        freedom, pooled = PRIOR + networks - 1, variances.mean(-1, keepdims=True)
        variances = np.maximum((PRIOR * pooled + (networks - 1) * variances) / freedom, self.resolution**2)
        of_forget, beside = variances[..., :forget], variances[..., forget:].sum(-1) / heldout**2
        errors = np.sqrt(
            np.stack([of_forget.sum(-1) / forget**2 + beside, *np.moveaxis(of_forget, -1, 0) + beside], -1)
        )
        most = (networks - 1) * (never.shape[-1] - 1.0)
        parts = np.concatenate([of_forget / forget**2, variances[..., forget:] / heldout**2], -1)
        group = np.minimum(freedom * np.square(parts.sum(-1)) / np.square(parts).sum(-1), most)
        return errors, np.stack([group] + [np.full_like(group, min(freedom, most))] * forget, -1)


def _memory(values: _Kept, forget: int, levels: tuple[float, float]) -> Memory:
    """The residuals and their intervals, the group's and single subjects' at these two-sided levels."""
    count, networks, (errors, freedom) = len(values.never), len(values.seen), values.errors(values.never)
    signals = values.contrasts(values.seen.mean(0), values.never)
    clear = stats.t.isf(ONE_SIDED, freedom[0])
    reach = errors * stats.t.isf(np.repeat(levels, [1, values.forget]) / 2, freedom)
    contrasts = values.contrasts(values.network, values.never)
    group, *single = (_fieller(*of_one, networks, count) for of_one in zip(contrasts, signals, reach, strict=True))
    bounded = _fieller(contrasts[0], signals[0], errors[0] * clear, networks, count)
    sides = np.sign(contrasts) * (np.abs(contrasts) > reach * np.sqrt(1 + 1 / count))
    known = dict(zip(values.places.tolist(), zip(single, sides[1:].astype(int).tolist(), strict=True), strict=False))
    unknown = (Interval(np.nan, np.nan, np.nan), 0)
    one = [known.get(place, unknown) for place in range(forget)]
    if len(values.network) == 1 and forget > 1:
        one = []
    error = float(errors[0] / abs(signals[0])) if signals[0] else np.inf
    subjects, beside = tuple(interval for interval, _ in one), tuple(side for _, side in one)
    return Memory(
        group, bounded, subjects, (int(sides[0]), *beside), count, levels[0], freedom[0] / (count - 1), error
    )


def _fieller(contrast: float, signal: float, reach: float, seen: int, never: int) -> Interval:
    """contrast / signal, and all ratios that a confidence interval of contrast - ratio * signal does not exclude.

    Its standard error is that of a network's contrast, times 1 + ratio^2 / seen + (1 - ratio)^2 / never. Source:
    Fieller, "Some problems in interval estimation", J. R. Statist. Soc. B 16, 1954.
    """
    square = signal**2 - reach**2 * (1 / seen + 1 / never)
    if not square > 0:
        return Interval(contrast / signal if signal else np.nan, -np.inf, np.inf)
    middle = (contrast * signal - reach**2 / never) / square
    half = np.sqrt(max(middle**2 - (contrast**2 - reach**2 * (1 + 1 / never)) / square, 0.0))
    return Interval(contrast / signal, float(middle - half), float(middle + half))


def _levels(measures: Sequence[_Kept], seed: int) -> tuple[float, float]:
    """The two-sided levels at which all groups' intervals hold together with 1 - `FAMILY`, and all subjects'.

    Never-seen networks are drawn whose values correlate between measures as those that there are, and whose subjects
    are as unlike as `PRIOR` says: the smallest p over all measures (and subjects) falls below the level in `FAMILY`
    of the draws.
    """
    rng, factor = np.random.default_rng(seed), _correlation_factor(measures)
    networks, subjects = max(len(m.never) for m in measures), 1 + max(int(m.places.max()) for m in measures)
    smallest = []
    for _ in range(_DRAWS // _CHUNK):
        spreads = np.sqrt(PRIOR / rng.chisquare(PRIOR, (_CHUNK, 1, subjects, 1)))
        drawn = spreads * rng.normal(size=(_CHUNK, 1 + networks, subjects, len(measures))) @ factor
        p = [_null_p(m, drawn[..., place]) for place, m in enumerate(measures)]
        smallest.append((np.min([q[:, 0] for q in p], 0), np.min([q[:, 1:].min(1) for q in p], 0)))
    group, single = (np.quantile(np.concatenate(family), FAMILY) for family in zip(*smallest, strict=True))
    return float(group), float(single)


def _null_p(measure: _Kept, drawn: np.ndarray) -> np.ndarray:
    """(N, 1 + F) two-sided p of (N, 1 + networks, subjects) draws: the first network of each against the others."""
    network, never = drawn[:, 0, measure.places], drawn[:, 1 : 1 + len(measure.never), measure.places]
    errors, freedom = measure.errors(never)
    statistics = np.abs(measure.contrasts(network, never)) / (errors * np.sqrt(1 + 1 / len(measure.never)))
    return 2 * stats.t.sf(statistics, freedom)


def _correlation_factor(measures: Sequence[_Kept]) -> np.ndarray:
    """(M, M): what makes of independent draws such that correlate as the measures' residuals do."""
    sizes = {m.never.shape for m in measures}
    paired = [place for place, m in enumerate(measures) if m.never.shape == max(sizes, key=lambda shape: shape[1])]
    residuals = [_residuals(measures[place].never).ravel() for place in paired]
    matrix = np.eye(len(measures))
    if len(paired) > 1 and all(residual.std() > 0 for residual in residuals):
        matrix[np.ix_(paired, paired)] = np.corrcoef(residuals)
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _residuals(never: np.ndarray) -> np.ndarray:
    """What is left of (R, S) values without each subject's and each network's mean."""
    centred = never - never.mean(0)
    return centred - centred.mean(1, keepdims=True)
