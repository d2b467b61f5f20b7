"""docs/reliability.md: every fault has a test, and the tests that it names are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_tests_that_the_documents_name_are_there():
    named = re.findall(r"`(\w+(?:/\w+)*\.py)::(\w+)`", (ROOT / "docs/reliability.md").read_text())
    assert len(named) >= 14
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"
