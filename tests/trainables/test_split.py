from collections import Counter

import pytest

from trainables.cohorts.cohort import CohortError
from trainables.split import Split, split_subjects

IDS = [f"s{n:02d}" for n in range(12)]


def problems(*arguments, **options):
    with pytest.raises(CohortError) as error:
        split_subjects(*arguments, **options)
    return error.value.problems


@pytest.mark.parametrize(("subjects", "fifth"), [(3, 1), (7, 1), (8, 2), (12, 2), (13, 3), (48, 10)])
def test_a_fifth_is_forgotten_a_fifth_held_out_and_the_rest_retained(subjects, fifth):
    ids = [f"s{n:02d}" for n in range(subjects)]
    split = split_subjects(ids, seed=0)
    assert (len(split.forget), len(split.heldout)) == (fifth, fifth)
    assert sorted(split.retain + split.forget + split.heldout) == ids
    assert all(part == tuple(sorted(part)) for part in (split.retain, split.forget, split.heldout))


def test_a_pure_function_of_the_ids_and_the_seed():
    split = split_subjects(IDS, 3)
    assert split_subjects(IDS[::-1], 3) == split_subjects(tuple(IDS), 3) == split
    assert len({split_subjects(IDS, seed) for seed in range(20)}) > 15


def test_every_subject_is_as_likely_to_be_forgotten_or_held_out():
    splits = [split_subjects(IDS, seed) for seed in range(600)]
    for part in ("forget", "heldout"):
        counts = Counter(subject for split in splits for subject in getattr(split, part))
        chi2 = sum((counts[subject] - 100) ** 2 / 100 for subject in IDS)
        assert chi2 < 32  # 11 degrees of freedom: one in a thousand beyond 31.3


def test_named_subjects_go_where_they_are_named():
    split = split_subjects(IDS, 0, forget=["s05", "s01", "s05"], heldout=["s09"])
    assert split == Split(tuple(s for s in IDS if s not in ("s01", "s05", "s09")), ("s01", "s05"), ("s09",))
    half = split_subjects(IDS, 0, heldout=["s09", "s02", "s03"])
    assert half.heldout == ("s02", "s03", "s09")
    assert len(half.forget) == 2
    assert not set(half.forget) & set(half.heldout)
    assert len(split_subjects(IDS, 0, forget=["s00"]).heldout) == 2


def test_counts():
    split = split_subjects(IDS, 0, forget_count=3, heldout_count=4, retain_count=2)
    assert [len(part) for part in (split.retain, split.forget, split.heldout)] == [2, 3, 4]
    more = split_subjects(IDS, 0, forget_count=3, heldout_count=4)
    assert (more.forget, more.heldout) == (split.forget, split.heldout)
    assert set(split.retain) < set(more.retain)
    assert len(split_subjects(IDS, 0, forget_count=10, heldout_count=1).retain) == 1


def test_all_wrong_names_at_once():
    lines = problems(IDS, 0, forget=["s01", "x", "s02"], heldout=["y", "s02", "s01"], retain_count=11)
    assert [line.split(":")[0] for line in lines[:2]] == ["--forget", "--heldout"]
    assert "no subject 'x'" in lines[0]
    assert "no subject 'y'" in lines[1]
    assert "s00, s01, s02, s03, s04, s05, s06, s07, ... 12 in all" in lines[0]
    assert lines[2:4] == [f"--forget and --heldout both name subject '{subject}'" for subject in ("s01", "s02")]
    assert lines[4].startswith("--retain-count 11, but only 6 subjects")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"forget_count": 0}, "0 forget subjects of 12"),
        ({"heldout_count": 0}, "0 heldout subjects of 12"),
        ({"forget_count": 6, "heldout_count": 6}, "0 retain subjects of 12"),
        ({"forget": IDS[:11]}, "-1 retain subjects of 12"),
        ({"retain_count": 9}, "--retain-count 9, but only 8 subjects"),
        ({"retain_count": 0}, "0 retain subjects of 12"),
        ({"retain_count": -1}, "-1 retain subjects of 12"),
    ],
)
def test_sets_that_would_be_empty_or_too_large(options, words):
    (line,) = problems(IDS, 0, **options)
    assert words in line


def test_a_cohort_of_two_cannot_be_split_and_one_of_three_can():
    assert "0 retain subjects of 2 in the cohort: every set needs at least one" in problems(["a", "b"], 0)
    assert [len(part) for part in vars(split_subjects(["a", "b", "c"], 0)).values()] == [1, 1, 1, 0]


@pytest.mark.parametrize(("heldout", "steering"), [(1, 0), (2, 1), (5, 2), (8, 4)])
def test_half_of_the_heldout_subjects_steer(heldout, steering):
    split = Split(("r",), ("f",), tuple(f"h{number}" for number in range(heldout)))
    steered = split.steered(0)
    assert (len(steered.heldout), len(steered.steering)) == (heldout - steering, steering)
    assert tuple(sorted(steered.heldout + steered.steering)) == split.heldout
    assert list(steered.steering) == sorted(steered.steering)
    assert (steered.retain, steered.forget) == (split.retain, split.forget)
    assert split.steered(0) == steered
    assert len({split.steered(seed) for seed in range(12)}) > 1 or steering == 0
