"""A disk that is full, and files in the cache that are not what was written."""

import contextlib
import json
import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.soak

FULL = "error: the disk is full; the same command continues once there is space"


@pytest.fixture
def disk(tmp_path):
    """A file system of 200 MB: enough for a checkpoint, but not for the final weights beside it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200M", "lethe", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(file):
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(1 << 20)):
            pass


def test_a_full_disk_ends_the_driver_and_the_same_command_goes_on(
    repeatable, disk, same_as_undisturbed, complete_in_mlflow
):
    study = repeatable(folder=disk)
    output = study.start().ends(1)
    assert output.rstrip().endswith(FULL)
    assert "Traceback" not in output
    assert study.trials.status.tolist() == ["running"]

    subprocess.run(["mount", "-o", "remount,size=1500M", disk], check=True)
    recorded, driver = len(study.history), study.start()
    driver.until(lambda: len(study.history) > recorded + 3)
    fill(disk / "filler")
    output = driver.ends(1)
    assert output.rstrip().endswith(FULL)
    assert "Traceback" not in output

    (disk / "filler").unlink()
    output = study.start().ends(0)
    assert "Traceback" not in output
    assert "tried again" not in output
    same_as_undisturbed(study)
    complete_in_mlflow(study.store, study)


def test_damaged_cache_entries_are_made_again(repeatable, undisturbed, tmp_path, same_as_undisturbed):
    """Weights cut in half, a history cut short, a bit of an image."""
    cache = shutil.copytree(undisturbed.cache, tmp_path / "cache")
    record = json.loads((undisturbed.folder / "study.json").read_text())
    first, second = (cache / "references" / reference["digest"] for reference in record["references"].values())
    cohort = cache / "cohorts" / record["cohort"]["digest"]
    os.truncate(first / "weights.safetensors", (first / "weights.safetensors").stat().st_size // 2)
    os.truncate(second / "reference.json", (second / "reference.json").stat().st_size - 100)
    with (cohort / "images.npy").open("r+b") as images:
        images.seek(5000)
        byte = images.read(1)
        images.seek(5000)
        images.write(bytes([byte[0] ^ 1]))
    study = repeatable(cache=cache)
    output = study.start().ends(0)
    for folder in (first, second, cohort):
        assert f"the cache entry {folder} is damaged and is made again" in output
    assert "Traceback" not in output
    same_as_undisturbed(study)
