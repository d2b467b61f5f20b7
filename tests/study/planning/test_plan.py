import hashlib
import hmac
import json
import re
from dataclasses import asdict, replace

import nibabel as nib
import numpy as np
import pytest

from search_spaces.space import SPACES
from study.planning.checks import explained
from study.planning.plan import check, make_plan
from study.records.constraints import Constraint
from study.records.failure import StudyError
from study.records.settings import StudySettings

SUBJECTS = ("anna", "bert", "carla", "dora", "emil", "fritz")
GOOD = StudySettings(space="noisy_label")
WRONG = {  # option -> settings with that one mistake, and what the message must quote
    "--space": ({"space": "max_los"}, "noisy_label"),
    "--depth": ({"depth": 20}, "20"),
    "--trials": ({"trials": 0}, "0"),
    "--epochs": ({"epochs": 0}, "0"),
    "--baseline-epochs": ({"baseline_epochs": -1}, "-1"),
    "--concurrent": ({"concurrent": 0}, "0"),
    "--references": ({"references": 0}, "0"),
    "--grace": ({"grace": 0}, "0"),
    "--shadows": ({"shadows": -1}, "-1"),
    "--forget-draws": ({"forget_draws": -2}, "-2"),
    "--repeats": ({"repeats": 2, "evidence": False}, "--no-evidence"),
    "--constraint": ({"constraint": ("retain_dize>=1",)}, "did you mean retain_dice?"),
    "--warm-start": ({"warm_start": "yesterday"}, "'yesterday'"),
    "--retain-count": ({"retain_count": 0}, "0"),
    "--retain-floor": ({"retain_floor": 1.01}, "1.01"),
    "--baseline-lr": ({"baseline_lr": 0.0}, "0.0"),
    "--weights": ({"weights": "/no/such.pth"}, "/no/such.pth"),
    "--name": ({"name": "a/b"}, "a/b"),
    "--shape": ({"shape": "16,15,16"}, "16,15,16"),
    "--forget": ({"forget": "anna", "forget_count": 2}, "--forget-count"),
    "--heldout": ({"heldout": "bert", "heldout_count": 2}, "--heldout-count"),
    "--storage": ({"storage": "s3://key:secret@bucket/studies?region=eu-central-1"}, "AWS_ACCESS_KEY_ID"),
    "--tracking-uri": ({"tracking_uri": "http://me:secret@mlflow.example"}, "MLFLOW_TRACKING_PASSWORD"),
    "--optuna-storage": ({"optuna_storage": "postgresql+psycopg2://me:secret@db.example/optuna"}, "PGPASSWORD"),
    "--gpus-per-trial": ({"gpus_per_trial": 1.5}, "1.5"),
    "--address": ({"address": "head"}, "'head'"),
}


def problems_of(settings, function=check):
    with pytest.raises(StudyError) as raised:
        function(settings)
    assert str(raised.value) == "\n".join(raised.value.problems)
    assert all("\n" not in problem or problem.startswith("--constraint") for problem in raised.value.problems)
    return raised.value.problems


def pseudonyms_of(cache):
    """Raw id -> pseudonym, from the key file and HMAC's definition."""
    key = (cache / "pseudonym.key").read_bytes()
    return {name: "s-" + hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:10] for name in SUBJECTS}


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_setting_is_named_with_its_value(option):
    change, quoted = WRONG[option]
    (problem,) = problems_of(replace(GOOD, **change))
    assert problem.startswith(option)
    assert quoted in problem


def test_all_problems_are_listed_at_once():
    everything = {name: value for change, _ in WRONG.values() for name, value in change.items()}
    problems = problems_of(replace(GOOD, **everything))
    assert len(problems) == len(WRONG)
    for option in WRONG:
        assert sum(bool(re.match(rf"{option}\b(?!-)", problem)) for problem in problems) == 1


def test_a_missing_space_lists_those_there_are():
    (problem,) = problems_of(StudySettings())
    listed = problem.removeprefix("--space is missing: name what to search, one of ")
    assert listed.split(", ") == SPACES.names()


def test_a_studies_folder_that_cannot_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    for studies in (tmp_path / "file", tmp_path / "file/below/that"):
        (problem,) = problems_of(replace(GOOD, studies=studies))
        assert problem == f"--studies: cannot write to {studies}"


def test_good_settings_pass_and_nothing_is_made(tmp_path):
    given = {"shape": " 16, 24,32", "retain_floor": 1.0, "name": "x.y", "epochs": 1, "grace": 1, "shadows": 0}
    settings = replace(GOOD, studies=tmp_path / "a/b", constraint=("seconds<=60", "retain_dice >= 0.5"), **given)
    assert check(settings)[0] == settings
    assert not list(tmp_path.iterdir())


def test_records_hold_pseudonyms_and_every_subject_is_in_one_set(settings, cache):
    plan = make_plan(settings)
    sets = (plan.split.retain, plan.split.forget, plan.split.heldout)
    assert [len(names) for names in sets] == [4, 1, 1]  # a fifth of six, rounded, is one
    assert sorted(name for names in sets for name in names) == sorted(pseudonyms_of(cache).values())
    assert all(re.fullmatch(r"s-[0-9a-f]{10}", name) for names in sets for name in names)


def test_trials_see_the_volumes_of_the_subjects_that_the_split_names(settings, cache, cohort_list):
    plan = make_plan(replace(settings, forget="dora,bert", heldout="emil"))
    raw = {hidden: name for name, hidden in pseudonyms_of(cache).items()}
    assert [raw[name] for name in plan.split.heldout] == ["emil"]
    assert {raw[name] for name in plan.split.forget} == {"bert", "dora"}
    for members, subset in zip(
        (plan.split.forget, plan.split.heldout), (plan.data.forget, plan.data.heldout), strict=True
    ):
        for name, (scan,) in zip(members, subset, strict=True):
            stored = np.asarray(nib.load(cohort_list.parent / f"label/{raw[name]}.nii.gz").dataobj)
            np.testing.assert_array_equal(plan.data.labels[scan], stored.transpose(2, 1, 0))
            assert abs(plan.data.images[scan].mean()) < 1e-4
    assert plan.data.classes == 3
    assert len(plan.data.retain) == 3


def test_raw_ids_and_pseudonyms_give_the_same_plan(settings, cache):
    raw = make_plan(replace(settings, forget="anna, carla", heldout="fritz"))
    names = pseudonyms_of(cache)
    hidden = make_plan(replace(settings, forget=f"{names['carla']},anna", heldout=names["fritz"]))
    assert hidden.settings == raw.settings
    assert hidden.split == raw.split
    assert hidden.data.subsets == raw.data.subsets


def test_a_settled_plan_plans_itself(settings):
    plan = make_plan(replace(settings, forget="anna,carla"))
    again = make_plan(plan.settings)
    assert (again.settings, again.split, again.data.subsets) == (plan.settings, plan.split, plan.data.subsets)
    assert plan.settings.name == plan.settings.study_name != ""


def test_no_raw_id_leaves_with_settings_split_or_data(settings):
    plan = make_plan(replace(settings, forget="anna,carla", heldout="fritz"))
    data = {name: value for name, value in vars(plan.data).items() if not isinstance(value, np.ndarray)}
    told = json.dumps([plan.settings.plain(), plan.settings.computed, asdict(plan.split), data])
    assert not [subject for subject in SUBJECTS if subject in told.replace(plan.settings.cohort, "")]


def test_unknown_ids_and_ids_in_both_lists_are_rejected_at_once(settings):
    problems = problems_of(replace(settings, forget="anna,nobody", heldout="anna,s-0123456789"), make_plan)
    assert len(problems) == 3
    for words in (
        "--forget: no subject 'nobody'",
        "--heldout: no subject 's-0123456789'",
        "both name subject 'anna'",
    ):
        assert sum(words in problem for problem in problems) == 1


def test_counts_and_seed_decide_the_split(settings):
    counted = replace(settings, forget_count=2, heldout_count=1, retain_count=2)
    plan = make_plan(counted)
    assert [len(subset) for subset in plan.data.subsets.values()] == [2, 2, 1]
    assert make_plan(counted).split == plan.split
    assert len({make_plan(replace(counted, seed=seed)).split for seed in range(5)}) > 1
    (problem,) = problems_of(replace(settings, forget_count=4, heldout_count=2), make_plan)
    assert "0 retain subjects" in problem


def test_every_broken_file_of_the_cohort_is_a_problem(settings, cohort_list):
    (cohort_list.parent / "image/bert.nii.gz").unlink()
    (cohort_list.parent / "label/emil.nii.gz").write_bytes(b"")
    problems = problems_of(settings, make_plan)
    assert [problem.split()[0] for problem in problems] == ["bert", "emil"]


def test_an_unknown_layout_or_a_missing_list_is_a_problem(settings, tmp_path):
    (problem,) = problems_of(replace(settings, cohort="nifti:/data"), make_plan)
    assert "medicalnet" in problem
    problems = problems_of(replace(settings, cohort=f"medicalnet:{tmp_path}/gone.txt"), make_plan)
    assert f"{tmp_path}/gone.txt: no such file" in problems[0]


def test_label_map_groups_and_shape_reach_the_cohort(settings, tmp_path, cache):
    (tmp_path / "map.csv").write_text("from,to,name\n0,0,background\n1,1,brain\n2,1,brain\n")
    people = ("p1", "p1", "p2", "p3", "p4", "p5")
    pairs = "".join(f"{scan},{person}\n" for scan, person in zip(SUBJECTS, people, strict=True))
    (tmp_path / "groups.csv").write_text(f"scan,subject\n{pairs}")
    options = {"label_map": str(tmp_path / "map.csv"), "groups": str(tmp_path / "groups.csv"), "shape": "16,24,16"}
    plan = make_plan(replace(settings, forget="p1", **options))
    assert plan.data.classes == 2
    assert plan.data.images.shape == (6, 16, 24, 16)
    assert plan.data.forget == ((0, 1),)  # both scans of one person
    assert len(plan.split.retain) == 3


def test_epochs_shorten_the_space(settings):
    assert make_plan(settings).space.domains["epochs"].high == 20
    domain = make_plan(replace(settings, epochs=3)).space.domains["epochs"]
    assert (domain.low, domain.high) == (3, 3)


def test_constraints_are_the_floor_and_what_was_given(settings):
    plan = make_plan(replace(settings, retain_floor=0.8, constraint=("seconds<=60", "retain_dice >= 0.5")))
    floor = Constraint("retention", ">=", 0.8)
    assert plan.constraints == [floor, Constraint("seconds", "<=", 60.0), Constraint("retain_dice", ">=", 0.5)]
    assert make_plan(settings).constraints == [Constraint("retention", ">=", 0.9)]


@pytest.mark.parametrize(
    ("changes", "grace"),
    [({}, 15), ({"epochs": 10}, 7), ({"epochs": 1}, 1), ({"knobs": ("epochs=8|40",)}, 30), ({"grace": 3}, 3)],
    ids=str,
)
def test_early_stopping_leaves_every_trial_three_quarters_of_the_longest_unless_told_otherwise(
    settings, changes, grace
):
    assert make_plan(replace(settings, early_stopping=True, **changes)).grace == grace


def test_every_wrong_constraint_is_pointed_at():
    first, second = problems_of(replace(GOOD, constraint=("dice>=1", "seconds<=60", "seconds<60")))
    assert first.splitlines()[1:] == ["    dice>=1", "    ^^^^"]
    assert second.splitlines() == [
        "--constraint: expected >= or <=, but got '<'",
        "    seconds<60",
        "           ^",
    ]


def options(space, *knobs, **changes):
    return StudySettings(space=space, knobs=knobs, **changes)


@pytest.mark.parametrize(
    ("settings", "option", "quoted"),
    [
        (options("noisy_label", "noise_rate"), "--set", "KNOB=A|B|C, but got 'noise_rate'"),
        (options("noisy_label", "lr=0.001,1"), "--set", "lr=0.001,1: not a value of lr"),
        (options("noisy_label", "ceiling=3.0"), "--set", "no knob 'ceiling'"),
        (options("noisy_label", "epochs=many"), "--set", "epochs=many"),
        (options("noisy_label", "lr=2..1"), "--set", "lr=2..1"),
        (options("noisy_label", "resample=1"), "--set", "resample: input should be 'never', 'epoch' or 'step', but"),
        (options("retain_label", "resample=maybe"), "--set", "'epoch' or 'step', but got 'maybe'"),
        (options("retain_label", "augment=none|turn"), "--set", "augment: input should be 'none', 'shift'"),
        (options("scrub", "rewind=true"), "--set", "only --objective unseen has"),
        (options("scrub", "lr_decay=often"), "--set", "lr_decay: string should match pattern"),
        (options("noisy_label", "optimizer=adam"), "--set", "'adamw' or 'sgd', but got 'adam'"),
        (options("noisy_label", "optimizer=adamw|adam"), "--set", "'adamw' or 'sgd', but got 'adam'"),
        (options("noisy_label", "lr=-1"), "--set", "lr: input should be greater than or equal to 0, but got -1.0"),
        (options("noisy_label", "lora_rank=2.5"), "--set", "lora_rank"),
        (options("noisy_label", "epochs=0"), "--set", "epochs: input should be greater than or equal to 1"),
        (options("noisy_label", "epochs=0..5"), "--set", "epochs: input should be greater than or equal to 1"),
        (options("noisy_label", "clip=-1.0..1.0"), "--set", "clip: input should be greater than or equal to 0"),
        (options("noisy_label", "retain_batch=0.5..2"), "--set", "retain_batch: input should be a valid integer"),
        (options("mechanics", "moves=decoder"), "--set", "a term on features moves the encoder alone"),
        (options("mechanics", "forget=ascend"), "--set", "but got 'ascend'"),
        (options("mechanics", "forget=ascent|ascend"), "--set", "but got 'ascend'"),
        (options("mechanics", "moves=all", "retain=features"), "--set", "moves='all'"),
        (options("noisy_label", sampler="grid"), "--sampler", "grid needs a list or a step for noise_rate, lr"),
        (options("finetune", sampler="qmc"), "--sampler", "qmc searches numbers only: hold optimizer"),
        (options("mechanics", sampler="gp"), "--sampler", "gp searches knobs that every trial has"),
        (options("noisy_label", early_stopping=True, objective="front"), "--early-stopping", "--objective front"),
        (options("noisy_label", horizons="20,50"), "--horizons", "no suite"),
        (options("noisy_label", seeds=3), "--seeds", "no suite"),
        (options("paper", "lr=0.1"), "--set", "a suite of fixed recipes"),
        (options("paper", epochs=10), "--epochs", "a suite of fixed recipes"),
        (options("paper", sampler="random"), "--sampler", "a suite of fixed recipes"),
        (options("paper", early_stopping=True), "--early-stopping", "a suite of fixed recipes"),
        (options("paper", optuna_storage="sqlite:///x.db"), "--optuna-storage", "a suite of fixed recipes"),
        (options("paper", seeds=0), "--seeds", "0"),
        (options("paper", seeds=-1), "--seeds", "-1"),
    ],
    ids=lambda value: " ".join(map(str, [value.space, *value.knobs])) if hasattr(value, "knobs") else "",
)
def test_what_a_space_or_a_suite_cannot_be_is_one_problem(settings, option, quoted):
    (problem,) = problems_of(settings)
    assert problem.startswith(option)
    assert quoted in problem


def test_every_wrong_knob_is_a_problem_of_its_own():
    problems = problems_of(options("noisy_label", "epochs=x", "colour=red", "lr", "lr=1..2", epochs=0))
    assert [problem.split()[0] for problem in problems] == ["--epochs", *["--set:"] * 3]


def test_a_study_to_learn_from_must_be_there(settings, tmp_path):
    (problem,) = problems_of(replace(settings, warm_start="old"))
    assert problem == f"--warm-start: no study 'old' in {settings.studies}"
    (settings.studies / "old").mkdir(parents=True)
    (settings.studies / "old/study.json").write_text("{}")
    check(replace(settings, warm_start="old"))


@pytest.mark.parametrize(
    ("settings", "fixed", "epochs"),
    [
        (options("noisy_label"), {}, (5, 20)),
        (options("noisy_label", "noise_rate=1", "epochs=2..9", epochs=6), {"noise_rate": 1.0}, (2, 6)),
        (options("noisy_label", sampler="tpe", cohort="bids:/nowhere"), {}, (5, 20)),  # nothing is read
    ],
    ids=str,
)
def test_a_space_is_explained_as_it_would_be_searched(settings, fixed, epochs):
    space = explained(settings)
    assert (space.fixed, space.domains["epochs"].low, space.domains["epochs"].high) == (fixed, *epochs)


def test_a_suite_is_explained_and_what_cannot_be_is_told():
    suite = explained(options("paper", horizons="9,3", seeds=2))
    assert (suite.horizons, suite.seeds) == ((3, 9), 2)
    assert problems_of(options("noisy_label", "lr=x"), explained)[0].startswith("--set: lr=x")


@pytest.mark.parametrize("name", SPACES.names())
def test_every_space_passes_as_it_is(name):
    check(options(name))


@pytest.mark.parametrize(
    ("space", "knobs", "fixed"),
    [
        ("mechanics", ("forget=ascent", "moves=encoder"), {"forget": "ascent", "moves": "encoder"}),
        ("mechanics", ("moves=decoder", "retain=segment", "forget=ascent"), None),
        ("noisy_label", ("noise_rate=1", "resample=true"), {"noise_rate": 1.0, "resample": True}),
        ("noisy_label", ("lora_rank=8",), {"lora_rank": 8}),
        ("ssd", ("epochs=2",), {"epochs": 2}),
    ],
)
def test_held_knobs_reach_the_plan(space, knobs, fixed, settings):
    plan = make_plan(replace(settings, space=space, knobs=knobs))
    assert plan.space.fixed == (fixed or {"moves": "decoder", "retain": "segment", "forget": "ascent"})
    assert not set(plan.space.fixed) & set(plan.space.domains)
    assert (plan.trials, plan.horizons) == (settings.trials, ())


def test_a_suite_has_as_many_trials_as_recipes_times_seeds(settings):
    plan = make_plan(replace(settings, space="paper"))
    assert (plan.trials, plan.horizons, plan.space.seeds) == (15, (20, 50), 3)
    other = make_plan(replace(settings, space="paper", horizons="9, 3", seeds=2))
    assert (other.trials, other.horizons) == (10, (3, 9))
    assert {other.space.knobs_of(entry)["epochs"] for entry in other.space.entries} == {9}
    assert other.settings.name != plan.settings.name


def test_a_horizon_given_twice_is_reported_once(settings):
    assert make_plan(replace(settings, space="paper", horizons="5,3,5")).horizons == (3, 5)


def test_the_epochs_of_a_study_shorten_fixed_ones_too(settings):
    assert make_plan(replace(settings, knobs=("epochs=30",), epochs=4)).space.fixed == {"epochs": 4}
