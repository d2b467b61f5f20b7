"""The cache: found by contents, complete or absent, read-only."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from trainables.cohorts.cache import cache_dir, cohort_digest, load_cohort
from trainables.cohorts.cohort import CohortError
from trainables.cohorts.label_map import LabelMap
from trainables.cohorts.open_cohort import regroup
from trainables.cohorts.readers.medicalnet import read

MAP = {"values": {0: 0, 1: 1, 2: 1}, "names": {0: "background", 1: "both"}}


def flip_a_byte(file):
    content = bytearray(file.read_bytes())
    content[9] ^= 1  # in gzip's header: the voxels stay, but who is to know
    file.write_bytes(content)


def grouped(listing, folder):
    (folder / "groups.csv").write_text("case,subject\ns0,ada\ns1,ben\ns2,ada\n")
    return regroup(listing, folder / "groups.csv")


def renamed(listing):
    first, *others = listing.subjects
    return replace(listing, subjects=(replace(first, id="someone"), *others))


def with_channel(listing):
    first, *others = listing.subjects
    scan = replace(first.scans[0], channel=1)
    return replace(listing, subjects=(replace(first, scans=(scan,)), *others))


CHANGES = {
    "an image's bytes": lambda listing, folder: flip_a_byte(folder / "image/s1.nii.gz") or (listing, None, None),
    "a label map's bytes": lambda listing, folder: flip_a_byte(folder / "label/s2.nii.gz") or (listing, None, None),
    "a file less": lambda listing, folder: (folder / "label/s2.nii.gz").unlink() or (listing, None, None),
    "a subject less": lambda listing, folder: (replace(listing, subjects=listing.subjects[:2]), None, None),
    "a subject's id": lambda listing, folder: (renamed(listing), None, None),
    "the groups": lambda listing, folder: (grouped(listing, folder), None, None),
    "a channel": lambda listing, folder: (with_channel(listing), None, None),
    "the shape": lambda listing, folder: (listing, None, (16, 16, 16)),
    "another shape": lambda listing, folder: (listing, None, (16, 16, 24)),
    "a label map": lambda listing, folder: (listing, LabelMap(folder / "map.csv", **MAP), None),
    "its names": lambda listing, folder: (listing, LabelMap(folder, MAP["values"], {0: "background", 1: "b"}), None),
    "its values": lambda listing, folder: (listing, LabelMap(folder, {0: 0, 1: 0, 2: 1}, MAP["names"]), None),
    "the layout's names": lambda listing, folder: (
        replace(listing, class_names={0: "b", 1: "l", 2: "r"}),
        None,
        None,
    ),
    "what it ignores": lambda listing, folder: (replace(listing, ignored=frozenset({2})), None, None),
}


def test_the_digest_changes_with_everything_that_decides_the_arrays(listed, tmp_path_factory):
    original = listed(3).parent
    digests = {"nothing": cohort_digest(read(original / "list.txt"), None, None)}
    for name, change in CHANGES.items():
        folder = tmp_path_factory.mktemp("copy") / "cohort"
        shutil.copytree(original, folder)
        listing = read(folder / "list.txt")
        assert cohort_digest(listing, None, None) == digests["nothing"]  # where the files lie plays no part
        digests[name] = cohort_digest(*change(listing, folder))
    assert len(set(digests.values())) == len(CHANGES) + 1
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests.values())


def test_times_and_the_place_of_the_label_map_play_no_part(listed, tmp_path):
    listing = read(listed(3))
    before = cohort_digest(listing, LabelMap(tmp_path / "a.csv", **MAP), None)
    os.utime(listing.subjects[0].scans[0].image, (1, 1))
    assert cohort_digest(listing, LabelMap(tmp_path / "b.csv", **MAP), None) == before


def test_a_second_load_takes_what_the_first_one_stored(listed, tmp_path):
    listing = read(listed(3))
    first = load_cohort(listing, cache=tmp_path / "cache")
    folder = tmp_path / "cache" / "cohorts" / first.digest
    written = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    second = load_cohort(listing, cache=tmp_path / "cache")
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == written
    assert replace(second, images=None, labels=None) == replace(first, images=None, labels=None)
    flip_a_byte(listing.subjects[0].scans[0].image)
    assert load_cohort(listing, cache=tmp_path / "cache").digest != first.digest


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_entry_is_told_of_and_made_again(name, damage, listed, tmp_path, caplog):
    listing = read(listed(3))
    first = load_cohort(listing, cache=tmp_path / "cache")
    images, labels = np.array(first.images), np.array(first.labels)
    file = tmp_path / "cache" / "cohorts" / first.digest / name
    if damage == "flip":
        flip_a_byte(file)
    else:
        file.write_bytes(file.read_bytes()[:-7])
    again = load_cohort(listing, cache=tmp_path / "cache")
    assert f"cohorts/{first.digest} is damaged and is made again" in caplog.text
    np.testing.assert_array_equal(again.images, images)
    np.testing.assert_array_equal(again.labels, labels)


def test_what_is_in_the_cache_needs_none_of_the_slow_imports(listed, tmp_path):
    first = load_cohort(read(listed(3)), cache=tmp_path)
    program = (
        "import sys; from pathlib import Path; from trainables.cohorts.open_cohort import open_cohort;"
        f"print(open_cohort('medicalnet:{listed(3)}', cache_dir=Path({str(tmp_path)!r})).digest,"
        "{'torch', 'monai', 'nibabel', 'scipy', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{first.digest} set()\n"


def test_the_arrays_are_memory_maps_that_nobody_can_write_to(listed, tmp_path):
    cohort = load_cohort(read(listed(3)), cache=tmp_path / "cache")
    for array in (cohort.images, cohort.labels):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0, 0, 0] = 1


def test_what_the_cache_says_of_people_is_for_its_owner_only(listed, tmp_path):
    cohort = load_cohort(grouped(read(listed(3)), tmp_path), cache=tmp_path / "cache")
    folder = tmp_path / "cache" / "cohorts" / cohort.digest
    assert folder.stat().st_mode & 0o077 == 0
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["subject_ids"] == ["ada", "ada", "ben"] == list(cohort.subject_ids)
    assert meta["scan_ids"] == ["s0", "s2", "s1"]
    assert not [file for file in (tmp_path / "cache").rglob("*") if "ada" in file.name]


def test_a_cohort_with_a_problem_leaves_nothing_behind(listed, tmp_path):
    listing = read(listed(3))
    listing.subjects[2].scans[0].image.write_bytes(b"broken")
    with pytest.raises(CohortError, match="unreadable"):
        load_cohort(listing, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*"))


def test_the_cache_is_where_lethe_cache_says(monkeypatch, tmp_path):
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("LETHE_CACHE")
    assert cache_dir().name == "lethe"


BUILDER = """
import os, sys
from pathlib import Path
import trainables.cohorts.checks, trainables.cohorts.grid  # before the children would, each by itself
from trainables.cohorts.cache import load_cohort
from trainables.cohorts.readers.medicalnet import read

for line in sys.stdin:
    child = os.fork()
    if not child:
        listed, cache = line.split()
        load_cohort(read(Path(listed)), cache=Path(cache))
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def builder():
    """A process that builds a cohort in a child of its own for every line that it reads."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def child_of(builder, listed, cache):
    """The process id of a build that has begun; its exit code is the builder's next line."""
    builder.stdin.write(f"{listed} {cache}\n")
    builder.stdin.flush()
    return int(builder.stdout.readline())


@pytest.fixture
def large(tmp_path, nifti):
    """Four scans that take a while to prepare, because every second one must be resampled."""
    for number in range(4):
        rng = np.random.default_rng(number)
        affine = np.diag([1.0 + number % 2, 1, 1, 1])
        nifti(tmp_path / f"i{number}.nii", rng.normal(5, 1, (48, 48, 48)).astype(np.float32), affine)
        nifti(tmp_path / f"l{number}.nii", rng.integers(0, 12, (48, 48, 48)).astype(np.uint8), affine)
    (tmp_path / "list.txt").write_text("".join(f"i{n}.nii l{n}.nii\n" for n in range(4)))
    return tmp_path / "list.txt"


def same(first, second):
    return np.array_equal(first.images, second.images) and np.array_equal(first.labels, second.labels)


@pytest.mark.slow
def test_a_build_that_was_killed_is_never_mistaken_for_a_complete_one(builder, large, tmp_path):
    cohorts = tmp_path / "cache" / "cohorts"
    child, deadline = child_of(builder, large, tmp_path / "cache"), time.monotonic() + 60
    while not list(cohorts.glob(".partial-*/images.npy")) and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    assert int(builder.stdout.readline()) == -signal.SIGKILL
    assert [path.name[:9] for path in cohorts.iterdir()] == [".partial-"]  # it was killed in the middle
    found, clean = (load_cohort(read(large), cache=tmp_path / name) for name in ("cache", "other"))
    assert same(found, clean)


@pytest.mark.slow
def test_two_processes_may_build_the_same_cohort_at_once(builder, large, tmp_path):
    child_of(builder, large, tmp_path / "cache")
    mine = load_cohort(read(large), cache=tmp_path / "cache")
    assert int(builder.stdout.readline()) == 0
    assert [path.name for path in (tmp_path / "cache" / "cohorts").iterdir()] == [mine.digest]
    assert same(mine, load_cohort(read(large), cache=tmp_path / "other"))
