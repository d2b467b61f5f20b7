"""Which code runs: in a checkout, without git, in an image, and installed within another project's checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.recording import revision

ROOT = Path(revision.__file__).parents[2]


def git(folder, *arguments):
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def told(folder, **environment):
    code = "from study.recording.revision import revision; print(revision())"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.strip()


@pytest.fixture
def copied(tmp_path):
    """The module in a folder within a checkout of something else."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "theirs")
    (tmp_path / "packages/study/recording").mkdir(parents=True)
    shutil.copy(revision.__file__, tmp_path / "packages/study/recording")
    return tmp_path / "packages"


@pytest.fixture
def path():
    return str(Path(shutil.which("git")).parent)


def test_a_checkout_tells_its_commit_whatever_the_environment_says(path):
    assert told(ROOT, PATH=path, LETHE_COMMIT="stale") == git(ROOT, "rev-parse", "HEAD")


def test_without_git_the_environment_tells_it():
    assert told(ROOT, PATH="/nowhere", LETHE_COMMIT="abc") == "abc"
    assert told(ROOT, PATH="/nowhere") == "unknown"


def test_anothers_commit_is_not_taken(copied, path):
    assert told(copied, PATH=path) == "unknown"
    assert told(copied, PATH=path, LETHE_COMMIT="abc") == "abc"
