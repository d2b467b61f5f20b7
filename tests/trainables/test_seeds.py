import subprocess
import sys

import pytest

from trainables.seeds import seed_for


# printf 0/split | sha256sum | cut -c1-16, halved: studies on disk depend on these numbers
@pytest.mark.parametrize(
    ("root", "purpose", "digits"),
    [
        (0, "split", "68a30a9f8b07670a"),
        (7, "noise/3/0", "85e181143262c6e0"),
        (-1, "a", "add317049af6b056"),
        (123456789012345678901, "b", "139d1fa38abb8bac"),
    ],
)
def test_the_first_63_bits_of_the_hash_of_root_and_purpose(root, purpose, digits):
    assert seed_for(root, purpose) == int(digits, 16) // 2


def test_every_root_and_purpose_has_a_seed_of_its_own_that_torch_and_numpy_take():
    seeds = {seed_for(root, f"{word}/{n}") for root in range(30) for word in ("noise", "split") for n in range(30)}
    assert len(seeds) == 30 * 2 * 30
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_another_process_with_another_hash_seed_agrees():
    code = "from trainables.seeds import seed_for; print(seed_for(5, 'retain/1'))"
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    )
    assert int(found.stdout) == seed_for(5, "retain/1")
