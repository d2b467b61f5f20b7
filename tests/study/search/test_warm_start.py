import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from study.planning.plan import make_plan
from study.records.failure import StudyError
from study.records.files import write_json
from study.records.rows import trial_rows
from study.records.study_record import read_record
from study.records.tables import trials_table
from study.session import study_record
from study.trials.engine import earlier_trials

A = {"noise_rate": 0.75, "lr": 1e-3, "forget_weight": 0.5, "epochs": 10}
STATUSES = {"running": False, "finished": True, "pruned": True, "failed": False}


@pytest.fixture
def earlier(settings, row_of):
    """A study `old` as a session leaves it: what it was told and its trial table."""

    def write(rows, status="finished", **changes):
        plan = make_plan(replace(settings, name="old", **changes))
        plan.settings.folder.mkdir(parents=True)
        study_record(plan, {}).write(plan.settings.folder)
        full = [row_of(plan.space, knobs, status).flat() for knobs in rows]
        trials_table(plan.settings.folder, plan.space.knobs).upsert(full)
        return plan.settings.folder

    return write


@pytest.fixture
def taught(settings):
    """The knobs that a new study learns from."""

    def read(**changes):
        rows = earlier_trials(make_plan(replace(settings, warm_start="old", **changes)))
        return [{name: row.knobs[name] for name in A} for row in rows]

    return read


def problem_of(read):
    with pytest.raises(StudyError) as caught:
        read()
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("status", STATUSES)
def test_trials_that_have_ended_teach_the_search(earlier, taught, status):
    earlier([A, {**A, "epochs": 20}], status)
    assert taught() == ([A, {**A, "epochs": 20}] if STATUSES[status] else [])


def test_the_rows_are_those_of_the_table(earlier, settings):
    folder = earlier([A])
    assert earlier_trials(make_plan(replace(settings, warm_start="old"))) == trial_rows(folder, read_record(folder))


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, [0, 1, 2]),
        ({"epochs": 15}, [0, 1]),
        ({"knobs": ("noise_rate=0.7..0.8",)}, [0, 2]),
        ({"knobs": ("noise_rate=0.75|1",)}, [0, 1, 2]),
        ({"knobs": ("noise_rate=0.75",)}, [0, 2]),
        ({"knobs": ("epochs=5..20/5", "lr=1e-3")}, [0, 1, 2]),
        ({"knobs": ("epochs=5..20/4",)}, []),
        ({"knobs": ("lr=0.5..1",)}, []),
        ({"objective": "front"}, [0, 1, 2]),
        ({"seed": 3, "trials": 3, "constraint": ("seconds<=1",), "sampler": "nsga2"}, [0, 1, 2]),
    ],
    ids=str,
)
def test_only_configurations_of_the_new_space_teach_it(earlier, taught, changes, kept):
    rows = [A, {**A, "noise_rate": 1.0}, {**A, "epochs": 20}]
    earlier(rows)
    assert taught(**changes) == [rows[number] for number in kept]


def test_what_was_held_at_another_value_teaches_nothing(earlier, taught):
    """Neither study searches `resample`; the earlier one held it at true, where the preset has false."""
    earlier([A], knobs=("resample=true",))
    assert taught() == []
    assert taught(knobs=("resample=true",)) == [A]
    assert taught(knobs=("resample=true|false",)) == [A]


def test_what_is_held_now_was_held_or_searched_then(earlier, taught):
    """Trials without adapters say nothing about trials with them."""
    earlier([A])
    assert taught(knobs=("lora_rank=8",)) == []


def test_conditional_trials_are_known_by_the_knobs_that_they_have(earlier, settings):
    rows = [
        {"forget": "ascent", "retain": "segment", "moves": "all", "ceiling": 9.0},
        {"forget": "ascent", "retain": "features", "ceiling": 9.0},
        {"forget": "retain_labels", "retain": "features"},
    ]
    rows = [{**row, "lr": 1e-3, "forget_weight": 1.0, "epochs": 10} for row in rows]
    earlier(rows, space="mechanics")

    def forgotten(*knobs):
        plan = make_plan(replace(settings, space="mechanics", warm_start="old", knobs=knobs))
        return [(row.knobs["forget"], row.knobs.get("moves")) for row in earlier_trials(plan)]

    assert forgotten() == [("ascent", "all"), ("ascent", None), ("retain_labels", None)]
    assert forgotten("forget=retain_labels|noise_image") == [("retain_labels", None)]
    assert forgotten("retain=features") == [("ascent", None), ("retain_labels", None)]


def test_a_study_of_another_space_or_cohort_is_refused(earlier, taught, cohort_list):
    folder = earlier([A], space="retain_label")
    assert problem_of(taught) == "--warm-start: study 'old' is of another space"
    study = json.loads((folder / "study.json").read_text())
    write_json(folder / "study.json", {**study, "space": "noisy_label"})
    file = cohort_list.parent / "image/anna.nii.gz"
    image = nib.load(file)
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) + 1, image.affine), file)
    assert problem_of(taught) == "--warm-start: study 'old' is of another cohort"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"space": "noisy_label", "cohort": null}', '{"space": 1'])
def test_a_record_that_cannot_be_read_is_named(earlier, taught, content):
    folder = earlier([A])
    (folder / "study.json").write_text(content)
    assert problem_of(taught).startswith(f"--warm-start: {folder / 'study.json'} is ")


def test_a_table_that_cannot_be_read_is_named(earlier, taught, settings):
    folder = earlier([A])
    trials_table(folder, make_plan(settings).space.knobs).merge()
    (file,) = folder.glob("trials/*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    assert problem_of(taught).startswith(f"--warm-start: {file}: damaged (")


def test_a_study_that_is_not_there_is_a_problem_of_the_settings(taught, settings):
    assert problem_of(taught) == f"--warm-start: no study 'old' in {settings.studies}"


def test_what_was_learned_is_told_and_steers(earlier, settings, bench):
    """With forty trials of an earlier study the first suggestions are no random draws any more."""
    rows = [{**A, "noise_rate": 0.6 + number / 100, "epochs": 5 + number % 16} for number in range(40)]
    earlier(rows)
    plan = make_plan(replace(settings, warm_start="old"))
    known = [
        replace(row, metrics={**row.metrics, "dice_gap": -abs(row.knobs["noise_rate"] - 0.7)})
        for row in earlier_trials(plan)
    ]
    search = bench.search(plan.space, earlier=known)
    assert bench.states == ["COMPLETE"] * 40
    rates = [search.suggest(f"ray-{number}")["knobs"]["noise_rate"] for number in range(20)]
    assert sum(abs(rate - 0.7) < 0.08 for rate in rates) > 14  # two fifths of random draws are
