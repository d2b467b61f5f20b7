import hashlib
import hmac
import os
import subprocess
import sys
from pathlib import Path

import pytest

from study.planning import pseudonyms
from study.planning.pseudonyms import owner_key, pseudonym

# A process that is slow between taking the key file's name and filling it, as on a busy file system.
SLOW_FIRST_USE = """
import secrets, sys, time
from pathlib import Path
from study.planning.pseudonyms import owner_key
draw = secrets.token_bytes
secrets.token_bytes = lambda size: (time.sleep(0.3), draw(size))[1]
print("ready", flush=True)
sys.stdin.readline()
print(owner_key(Path(sys.argv[1])).hex(), flush=True)
"""


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    before = os.umask(0)  # the strictest test of the mode: nothing is masked out
    try:
        key = owner_key(tmp_path / "new/cache")
    finally:
        os.umask(before)
    path = tmp_path / "new/cache/pseudonym.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(key) == 32
    assert path.read_bytes() == key == owner_key(tmp_path / "new/cache")
    assert [file.name for file in path.parent.iterdir()] == ["pseudonym.key"]
    assert owner_key(tmp_path / "another") != key


def test_two_processes_that_race_get_the_same_key(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(pseudonyms.__file__).parents[2])}
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", SLOW_FIRST_USE, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    keys = {racer.communicate()[0].strip() for racer in racers}
    assert keys == {(tmp_path / "pseudonym.key").read_bytes().hex()}
    assert len(keys.pop()) == 64


def test_a_pseudonym_is_keyed_stable_and_short():
    first, second = b"1" * 32, b"2" * 32
    assert pseudonym("sub-01", first) == pseudonym("sub-01", first) != pseudonym("sub-01", second)
    expected = hmac.new(first, b"sub-01", hashlib.sha256).hexdigest()
    assert pseudonym("sub-01", first) == f"s-{expected[:10]}"
    assert pseudonym("sub-01", first) not in f"s-{hashlib.sha256(b'sub-01').hexdigest()}"


@pytest.mark.parametrize("subject", ["Müller 3", "患者", "a,b"])
def test_any_id_has_a_pseudonym_that_a_list_can_hold(subject):
    assert pseudonym(subject, b"k" * 32).removeprefix("s-").isalnum()


def test_a_hundred_thousand_ids_do_not_collide():
    assert len({pseudonym(f"sub-{number}", b"k" * 32) for number in range(100_000)}) == 100_000
