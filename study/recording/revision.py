"""Which code runs."""

import os
import subprocess
from pathlib import Path


def revision() -> str:
    """The commit of this code's checkout, else what LETHE_COMMIT says, as in an image, else `unknown`."""
    command = ["git", "-C", str(Path(__file__).parents[2]), "rev-parse", "--show-prefix", "HEAD"]
    try:
        prefix, _, commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("\n")
    except (OSError, subprocess.CalledProcessError):  # no git, or no checkout
        prefix, commit = "", ""
    mine = "" if prefix else commit.strip()  # with a prefix, it lies within a checkout of something else
    return mine or os.environ.get("LETHE_COMMIT", "unknown")
