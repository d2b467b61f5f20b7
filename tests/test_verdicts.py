"""How often the verdict is right on real networks: twenty studies of each kind, drawn from those that were fitted."""

import sys
from pathlib import Path

import pytest

from analysis.evidence.verdict import NEVER_SEEN, OVER_FORGETS, REMEMBERS

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[1]
HIPPOCAMPI = ROOT.parent / "shared/data/Task04_Hippocampus"


@pytest.fixture
def verdicts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import verdicts

    yield verdicts
    sys.modules.pop("verdicts")


@pytest.mark.parametrize(
    ("cohort", "shape"),
    [
        ("phantom:24x32x32,24", ""),
        pytest.param(
            f"decathlon:{HIPPOCAMPI}",
            "32,40,32",
            marks=pytest.mark.skipif(not HIPPOCAMPI.exists(), reason="the real cohort is not here"),
        ),
    ],
    ids=["phantom", "hippocampi"],
)
def test_who_remembers_is_found_and_who_never_saw_is_not_accused(verdicts, cohort, shape, tmp_path, capsys):
    found = verdicts.main(verdicts.Options(to=tmp_path, cohort=cohort, shape=shape, draws=0))
    assert found["seen"][REMEMBERS] == 20
    assert found["never"][REMEMBERS] + found["never"][OVER_FORGETS] <= 1
    assert found["finetune, 3 epochs"][NEVER_SEEN] == found["finetune, 5 epochs"][NEVER_SEEN] == 0
    assert found["noisy_label, 20 epochs"][NEVER_SEEN] == 0
    assert found[verdicts.ONE][REMEMBERS] >= 17  # by three judges in 52 of 56 studies
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {verdicts.ONE} |")]
    assert line.count(" of s-") == 2  # both reasons name a person
