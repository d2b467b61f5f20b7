import dataclasses
import math

import numpy as np
import pytest

from study.evidence.shadows import other_forget_set, shadow_fits, shadow_split, worlds
from study.planning.plan import make_plan
from trainables.evidence.scores import Scores


@pytest.fixture
def planned(settings):
    """The tiny cohort's plan with changed settings."""
    return lambda **changes: make_plan(dataclasses.replace(settings, **{"heldout_count": 2, **changes}))


def everyone(plan):
    return [subject for subset in plan.data.subsets.values() for subject in subset]


@pytest.mark.parametrize(
    "changes", [{}, {"heldout_count": 1, "forget_count": 2}, {"objective": "unseen", "heldout_count": 3}]
)
def test_every_pair_of_shadows_shares_out_every_set(planned, changes):
    plan = planned(shadows=6, **changes)
    fits = list(shadow_fits(plan).values())
    assert len(fits) == 6
    for first, second in zip(fits[::2], fits[1::2], strict=True):
        assert sorted(first.taught + second.taught) == sorted(everyone(plan))
        for subset in plan.data.subsets.values():
            had = [sum(subject in fit.taught for subject in subset) for fit in (first, second)]
            assert abs(had[0] - had[1]) <= 1
    for subject in everyone(plan):
        assert sum(subject in fit.taught for fit in fits) == 3
    assert len({fit.seed for fit in fits}) == 6
    assert len({fit.taught for fit in fits}) > 2  # the pairs are no copies of each other


def test_a_single_subject_of_a_set_is_taught_by_either_side_of_the_pairs_in_turn(planned):
    plan = planned(shadows=4, heldout_count=1)
    (alone,) = plan.data.heldout
    assert [alone in fit.taught for fit in shadow_fits(plan).values()] in ([0, 1, 1, 0], [1, 0, 0, 1])


def test_shadows_depend_on_the_seed_and_more_leave_the_first_alone(planned):
    two, six = (shadow_fits(planned(shadows=count)) for count in (2, 6))
    assert list(six) == [f"shadow-{number}" for number in range(6)]
    assert two.items() < six.items()
    assert shadow_fits(planned(shadows=6)) == six
    seeded = dataclasses.replace(
        planned(shadows=6), settings=dataclasses.replace(planned(shadows=6).settings, seed=1)
    )
    assert [fit.taught for fit in shadow_fits(seeded).values()] != [fit.taught for fit in six.values()]
    assert shadow_fits(planned(shadows=0)) == {}


def test_a_shadow_unlearns_whom_it_had_of_the_forget_and_held_out_subjects_and_nobody_else(planned):
    plan = planned(shadows=4, objective="unseen", heldout_count=3)
    for fit in shadow_fits(plan).values():
        sets = shadow_split(plan.data, fit.taught)
        assert set(sets.forget) == set(fit.taught) & {*plan.data.forget, *plan.data.heldout}
        assert set(sets.retain) == set(fit.taught) & {*plan.data.retain, *plan.data.steering}
        assert sorted(sets.retain + sets.forget) == sorted(fit.taught)


def test_the_worlds_say_who_had_a_subject_and_what_each_network_gives_before_and_after(planned):
    plan = planned(shadows=4)
    fits, targets = shadow_fits(plan), plan.data.forget + plan.data.heldout
    rng = np.random.default_rng(0)
    before, after = ([scores(rng, len(targets)) for _ in fits] for _ in range(2))
    found = worlds(targets, fits, before, after)
    for row, subject in enumerate(targets):
        for column, fit in enumerate(fits.values()):
            assert found.had[row, column] == (subject in fit.taught)
            assert found.unlearned[row, column] == after[column].confidence[row]
            for name in ("dice", "cross_entropy"):
                assert found.fitted[name][row, column] == getattr(before[column], name)[row]
    assert (found.had.sum(1) == 2).all()


def scores(rng, count):
    return Scores(*(rng.random(count) for _ in Scores.__dataclass_fields__))


def test_another_forget_set_is_as_large_and_drawn_from_all_that_the_baseline_had(planned):
    plan = planned(forget_count=2, heldout_count=1)
    pool, drawn = plan.data.retain + plan.data.forget, set()
    for seed in range(40):
        sets = other_forget_set(plan.data, seed)
        assert (len(sets.forget), len(sets.retain), sets.heldout) == (2, len(pool) - 2, ())
        assert sorted(sets.forget + sets.retain) == sorted(pool)
        assert other_forget_set(plan.data, seed) == sets
        drawn.add(frozenset(sets.forget))
    assert len(drawn) == math.comb(len(pool), 2)  # every set turns up
