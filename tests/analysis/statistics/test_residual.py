"""Residual memory on networks that are drawn: what is left is known, and how often an interval must hold it."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.residual import FAMILY, PRIOR, Compared, residual_memory

MEASURES = ("dice", "loss", "views")


def drawn(rng, forget, heldout, references, left, signal=3.0, correlation=0.7, prior=np.inf):
    """A study: every network has a level of its own, every subject its difficulty, memory shifts forget subjects.

    Subjects' variances are those of an inverse chi-square of `prior` degrees of freedom; all alike if infinite.
    """
    subjects, count = forget + heldout, len(MEASURES)
    spread = np.sqrt(prior / rng.chisquare(prior, (subjects, 1))) if np.isfinite(prior) else 1.0
    difficulty = rng.normal(0, 2, (subjects, 1))
    together = np.full((count, count), correlation) + np.eye(count) * (1 - correlation)

    def network(memory):
        noise = spread * rng.multivariate_normal(np.zeros(count), together, subjects)
        values = difficulty + rng.normal(0, 2) + noise
        values[:forget] += memory * signal
        return values

    own, never, seen = network(left), np.stack([network(0) for _ in range(references)]), network(1)
    return {name: Compared(own[:, m], never[..., m], seen[None, :, m]) for m, name in enumerate(MEASURES)}


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 0.5, 1])
@pytest.mark.parametrize(("forget", "heldout", "references"), [(2, 2, 3), (3, 4, 3), (4, 8, 5), (8, 8, 3)])
def test_all_intervals_together_hold_the_truth_as_often_as_they_say(forget, heldout, references, left):
    rng, studies = np.random.default_rng(0), 150
    group = single = 0
    for seed in range(studies):
        memories = residual_memory(drawn(rng, forget, heldout, references, left), forget, seed).values()
        group += any(not memory.group.low <= left <= memory.group.high for memory in memories)
        single += any(not one.low <= left <= one.high for memory in memories for one in memory.subjects)
    most = stats.binom.ppf(0.999, studies, FAMILY)
    assert group <= most
    assert single <= most


@pytest.mark.slow
@pytest.mark.parametrize(("forget", "heldout", "references"), [(2, 2, 3), (4, 8, 3), (4, 8, 10)])
def test_single_subjects_who_vary_more_than_others_are_accused_no_more_often(forget, heldout, references):
    rng, studies = np.random.default_rng(1), 200
    accused = sum(
        any(any(memory.sides[1:]) for memory in residual_memory(study, forget, seed).values())
        for seed, study in enumerate(drawn(rng, forget, heldout, references, 0, prior=PRIOR) for _ in range(studies))
    )
    assert accused <= stats.binom.ppf(0.999, studies, FAMILY)


def test_the_interval_by_hand():
    """Two forget and two held-out subjects, three never-seen networks; one measure, so that its level is `FAMILY`."""
    never = np.array([[0.0, 2.0, 4.0, 6.0], [1.0, 3.5, 4.5, 7.0], [-1.0, 1.0, 3.0, 5.5]])
    network, seen = np.array([2.0, 4.0, 4.0, 6.0]), np.array([10.0, 13.0, 4.5, 6.0])
    memory = residual_memory({"loss": Compared(network, never, seen[None])}, 2)["loss"]

    def contrast(values):
        differences = values - never.mean(0)
        return differences[:2].mean() - differences[2:].mean()

    assert memory.group.mean == pytest.approx(contrast(network) / contrast(seen))
    residuals = never - never.mean(0) - never.mean(1, keepdims=True) + never.mean()
    spread = np.sqrt((residuals**2).sum() / (2 * 3))
    reach = stats.t(6).isf(memory.level / 2) * spread * np.sqrt(1 / 2 + 1 / 2)
    for end in (memory.group.low, memory.group.high):  # Fieller: the ratios at which the difference just is not 0
        difference = contrast(network) - end * contrast(seen)
        assert abs(difference) == pytest.approx(reach * np.sqrt(1 + end**2 + (1 - end) ** 2 / 3))
    assert memory.level == pytest.approx(FAMILY, rel=0.3)
    one_sided = stats.t(6).isf(0.05) * spread
    assert memory.half_width(3) == pytest.approx(one_sided * np.sqrt(4 / 3) / contrast(seen))
    difference = contrast(network) - memory.clear.high * contrast(seen)
    assert abs(difference) == pytest.approx(
        one_sided * np.sqrt(1 + memory.clear.high**2 + (1 - memory.clear.high) ** 2 / 3)
    )
    assert memory.half_width(9) < memory.half_width(3)


def test_a_network_that_is_better_or_worse_all_over_remembers_no_more():
    study = drawn(np.random.default_rng(1), 4, 8, 5, 0.0)
    shifted = {name: compared._replace(network=compared.network + 7) for name, compared in study.items()}
    before, after = residual_memory(study, 4), residual_memory(shifted, 4)
    for name in MEASURES:
        assert after[name].group == pytest.approx(before[name].group)


def test_where_the_baseline_cannot_be_told_from_never_seen_a_measure_is_blind():
    study = drawn(np.random.default_rng(2), 3, 4, 3, 0.0, signal=0.01)
    assert all(memory.blind for memory in residual_memory(study, 3).values())


def test_one_number_for_all_subjects_and_a_study_without_held_out_ones_are_told_by_the_references_alone():
    never, seen = np.array([[8.0], [10.0], [9.0]]), np.array([[1.0]])
    memory = residual_memory({"steps": Compared(np.array([5.0]), never, seen)}, 2)["steps"]
    assert memory.group.mean == pytest.approx(0.5)
    assert memory.subjects == ()
    reach = stats.t(2).isf(memory.level / 2) * never.std(ddof=1)
    assert abs(5 - 9 + 8 * memory.group.high) == pytest.approx(
        reach * np.sqrt(1 + memory.group.high**2 + (1 - memory.group.high) ** 2 / 3)
    )
    alone = Compared(np.array([5.0, 5.0]), never + np.array([0, 1]), np.array([[1.0, 2.0]]))
    alone = residual_memory({"dice": alone}, 2)["dice"]
    assert alone.group.mean == pytest.approx(4.5 / 8)
    assert len(alone.subjects) == 2


def test_a_subject_without_a_value_is_left_out():
    study = drawn(np.random.default_rng(3), 3, 4, 3, 1.0)
    compared = study["dice"]
    gone = compared._replace(network=np.where(np.arange(7) == 1, np.nan, compared.network))
    rest = Compared(*(np.delete(values, 1, -1) for values in (compared.network, compared.never, compared.seen)))
    found, expected = residual_memory({"dice": gone}, 3)["dice"], residual_memory({"dice": rest}, 2)["dice"]
    assert (found.group.mean, found.error) == pytest.approx((expected.group.mean, expected.error))
    assert np.isnan(found.subjects[1].mean)
    assert [found.subjects[0].mean, found.subjects[2].mean] == pytest.approx([one.mean for one in expected.subjects])


def test_one_never_seen_network_tells_nothing():
    study = drawn(np.random.default_rng(4), 2, 2, 1, 0.0)
    assert residual_memory(study, 2) == {}
    assert residual_memory({}, 2) == {}
