"""The Dockerfile, as far as it can be checked where no image can be built."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
PINS = dict(re.findall(r"^(\S+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def test_both_variants_are_of_the_pinned_ray():
    assert re.findall(r"RAY=(\S+)-py311-(cpu|gpu)", TEXT) == [(PINS["ray"], "cpu"), (PINS["ray"], "gpu")]


def test_what_is_installed_beside_lethe_is_pinned():
    (packages,) = re.findall(r"-c \S+ /home/ray/lethe (.+)$", TEXT, re.MULTILINE)
    assert set(packages.split()) == {"boto3", "psycopg2-binary"}  # for S3 and for PostgreSQL
    assert set(packages.split()) <= set(PINS)


@pytest.mark.parametrize("file", ["cluster.yaml", "deploy/raycluster.yaml", "docs/cluster.md"])
def test_the_database_that_is_spoken_of_is_reached_by_what_is_installed(file):
    """SQLAlchemy's own choice of a driver depends on its version."""
    addresses = set(re.findall(r"postgresql[+\w]*://[\w:@/]+", (ROOT / file).read_text()))
    assert addresses
    assert {create_engine(address).driver for address in addresses} == {"psycopg2"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The files that the image's pip installs from what is copied into it."""
    folder = tmp_path_factory.mktemp("image")
    for line in re.findall(r"^COPY --chown=ray (.+)$", TEXT, re.MULTILINE):
        *sources, target = line.split()
        to = folder / Path(target).relative_to("/home/ray/lethe")
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, to)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        folder,
    ]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_the_image_has_every_module_and_page(installed):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    wanted = {name for name in tracked if name.startswith(("study/", "trainables/", "search_spaces/", "analysis/"))}
    assert "analysis/ui/static/front.html" in wanted
    assert wanted <= installed
