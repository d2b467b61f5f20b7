import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from study import records
from study.planning.metrics import installed_metrics
from study.records.files import digest_of, replace_file, write_json
from study.records.objectives import OBJECTIVES, Goal
from study.records.trials import TrialConfig

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(records.__file__).parents[2])}
ROW = {
    "retain_dice": 0.8,
    "forget_dice": 0.3,
    "dice_gap": 0.5,
    "retrain_gap": 0.2,
    "unseen_gap": 0.1,
    "seconds": 60.0,
}


@pytest.mark.parametrize(
    ("name", "score", "front", "told", "forgetting"),
    [
        ("gap", 0.5, (0.8, -0.3), (0.5,), "forget_dice"),
        ("retrain", -0.2, (0.8, -0.2), (-0.2,), "retrain_gap"),
        ("unseen", -0.1, (0.8, -0.1), (-0.1,), "unseen_gap"),
        ("front", 0.5, (0.8, -0.3), (0.8, -0.3), "forget_dice"),
        ("front_seconds", 0.5, (0.8, -0.3, -60.0), (0.8, -0.3, -60.0), "forget_dice"),
    ],
)
def test_an_objective_says_what_is_best_what_the_front_is_of_and_what_the_search_hears(
    name, score, front, told, forgetting
):
    """Every score is to be maximised, whichever way its column is good."""
    objective = OBJECTIVES[name]
    assert objective.score(ROW) == objective.best.score(ROW) == score
    assert tuple(goal.score(ROW) for goal in objective.front) == front
    assert tuple(goal.score(ROW) for goal in objective.goals) == told
    assert objective.forgetting == forgetting
    assert objective.multiple == (len(told) > 1)


def test_every_objective_is_of_recorded_columns():
    assert set(OBJECTIVES) == {"gap", "robust_gap", "residual", "retrain", "unseen", "front", "front_seconds"}
    columns = {goal.column for objective in OBJECTIVES.values() for goal in (objective.best, *objective.front)}
    assert columns <= {*installed_metrics(), "seconds"}


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_goal_without_a_value_scores_nan(value):
    assert math.isnan(Goal("forget_dice", -1).score({"forget_dice": value}))
    assert math.isnan(OBJECTIVES["gap"].score({**ROW, "dice_gap": value}))
    assert Goal("forget_dice", -1).score({"forget_dice": 0.0}) == 0


def test_a_process_that_dies_in_the_middle_of_a_write_changes_nothing(tmp_path):
    write_json(tmp_path / "study.json", {"trials": 1})
    code = (
        "import os, sys; from pathlib import Path; from study.records.files import replace_file\n"
        "replace_file(Path(sys.argv[1]), lambda path: (path.write_text('{\"tri'), os.kill(os.getpid(), 9)))"
    )
    died = subprocess.run([sys.executable, "-c", code, tmp_path / "study.json"], env=ENVIRONMENT, check=False)
    assert died.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "study.json").read_text()) == {"trials": 1}
    replace_file(tmp_path / "study.json", lambda path: path.write_text("{}"))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("study.json", "{}")]


def test_a_disk_that_is_full_leaves_the_old_file_and_no_part_of_a_new_one(tmp_path):
    write_json(tmp_path / "study.json", {"trials": 1})
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")

    def write(path):
        path.write_text('{"tri')
        Path("/dev/full").write_text("als")

    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "study.json", write)
    assert [(file.name, json.loads(file.read_text())) for file in tmp_path.iterdir()] == [
        ("study.json", {"trials": 1})
    ]


def test_a_file_that_cannot_be_put_in_place_leaves_no_part_either(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        replace_file(tmp_path / "taken", lambda path: path.write_text("x"))
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_digest_is_the_hash_of_canonical_json():
    expected = hashlib.sha256(b'{"a":[1,2.5,"x"],"b":{"c":null,"d":true}}').hexdigest()[:12]
    assert digest_of({"b": {"d": True, "c": None}, "a": (1, 2.5, "x")}) == expected
    assert digest_of({"a": [1, 2.5, "x"], "b": {"c": None, "d": True}}) == expected
    assert len({digest_of(value) for value in (1, 1.0, "1", [1], True, None, 1.0000000000000002)}) == 7


CONFIG = TrialConfig("noisy_label", {"lr": 1e-3, "epochs": 5}, 0, "b" * 12)


@pytest.mark.parametrize(
    "other",
    [
        TrialConfig("max_loss", CONFIG.knobs, 0, CONFIG.baseline),
        TrialConfig("noisy_label", {"lr": 1e-3, "epochs": 6}, 0, CONFIG.baseline),
        TrialConfig("noisy_label", {"lr": 1e-3}, 0, CONFIG.baseline),
        TrialConfig("noisy_label", CONFIG.knobs, 1, CONFIG.baseline),
        TrialConfig("noisy_label", CONFIG.knobs, 0, "c" * 12),
    ],
)
def test_every_part_of_a_configuration_counts_in_its_signature(other):
    assert other.signature != CONFIG.signature
    assert TrialConfig("noisy_label", {"epochs": 5, "lr": 1e-3}, 0, CONFIG.baseline).signature == CONFIG.signature


def test_the_trial_of_a_configuration_is_plain_and_starts_with_whole_batches(tmp_path):
    fresh, continued = CONFIG.trial(), CONFIG.trial(str(tmp_path / "state.pt"), one_by_one=True)
    assert json.loads(json.dumps(fresh)) == fresh
    assert fresh == {
        "id": CONFIG.signature,
        "strategy": "noisy_label",
        "knobs": {"lr": 1e-3, "epochs": 5},
        "seed": 0,
        "checkpoint": None,
        "one_by_one": False,
    }
    assert continued == {**fresh, "checkpoint": str(tmp_path / "state.pt"), "one_by_one": True}
