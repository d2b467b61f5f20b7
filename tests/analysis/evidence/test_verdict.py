"""The verdict on networks whose memory is known, and the words in which it is told."""

import numpy as np
import pytest

from analysis.evidence import conclude as concluding
from analysis.evidence.conclusion import Examined, Findings, Judged, Terms
from analysis.evidence.verdict import CANNOT_TELL, NEVER_SEEN, OVER_FORGETS, REMEMBERS, judge, memories_of

SUBJECTS, HELDOUT = ("s-a", "s-b", "s-c"), 6
TERMS = Terms(
    {
        "dice": Judged("Dice"),
        "loss": Judged("Loss", scale="log", remembered="less"),
        "dice_views": Judged("Dice under views"),
        "loss_views": Judged("Loss under views", scale="log", remembered="less"),
        "relearn_steps": Judged("Relearning steps", unit="steps", scale="log", remembered="less"),
        "resurfaced_dice": Judged("Resurfaced Dice"),
        "distance": Judged("Distance", judged=False),
    },
    SUBJECTS,
    0.25,
    4,
)


def network(seed, left=(0, 0, 0), steps=20.0, **others):
    """Never seen: Dice about 0.6, loss about 1; seen: 0.9 and 0.2. `left` is what is left of either, per subject."""
    rng = np.random.default_rng(seed)
    memory = np.array([*left, *[0] * HELDOUT], float)

    def dice():
        return 0.6 + 0.3 * memory + 0.02 * rng.normal() + rng.normal(0, 0.01, len(memory))

    def loss():
        return np.exp(np.log(0.2) * memory + 0.1 * rng.normal() + rng.normal(0, 0.04, len(memory)))

    values = {"dice": dice(), "loss": loss(), "dice_views": dice(), "loss_views": loss(), "resurfaced_dice": dice()}
    return Examined({}, {}, {**values, "relearn_steps": np.array(steps), "distance": np.array(9.0), **others})


def judged(mine, references=3, terms=TERMS):
    retrained = {f"retrained-{seed}": network(seed, steps=18.0 + seed) for seed in range(1, references + 1)}
    findings = Findings(mine, retrained, {"baseline": network(9, (1, 1, 1), steps=0.0)})
    return judge(memories_of(findings, terms), findings, terms)


@pytest.mark.parametrize(
    ("left", "steps", "verdict", "told"),
    [
        ((1, 1, 1), 0.0, REMEMBERS, "never seen 0.9"),
        ((0.6, 0.6, 0.6), 20.0, REMEMBERS, "residual memory +0.6"),
        ((0, 0, 0), 20.0, NEVER_SEEN, "residual memory"),
        ((-1, -1, -1), 20.0, OVER_FORGETS, "residual memory -1.0"),
        ((-1, 1, 0), 20.0, REMEMBERS, "of s-b"),  # the mean over the subjects is 0
        ((0, 0, 1), 20.0, REMEMBERS, "of s-c"),
    ],
)
def test_the_verdict_and_its_reasons(left, steps, verdict, told):
    found = judged(network(0, left, steps))
    assert found["verdict"] == verdict
    assert told in found["reasons"]
    assert len(found["reasons"].split("; ")) == 2


def test_the_baseline_remembers_and_never_seen_networks_are_not_accused():
    assert judged(network(9, (1, 1, 1), steps=0.0))["verdict"] == REMEMBERS
    verdicts = [judged(network(seed, steps=20.0))["verdict"] for seed in range(20, 60)]
    assert verdicts.count(REMEMBERS) + verdicts.count(OVER_FORGETS) <= 4  # 5 % are expected
    assert verdicts.count(NEVER_SEEN) > 20


def test_a_good_dice_does_not_hide_what_views_show():
    """The array that was unlearned looks never seen, or less; one voxel aside the network knows the person."""
    views = {name: network(0, (1, 1, 1)).measures[name] for name in ("dice_views", "loss_views")}
    found = judged(network(0, **views))
    assert found["verdict"] == REMEMBERS
    assert "under views" in found["reasons"]


def test_who_relearns_at_once_is_not_as_never_seen():
    quick = {"relearn_steps": np.array(1.0)}
    assert judged(network(0, **quick))["verdict"] == REMEMBERS
    assert "Relearning steps 1 (never seen 19 to 21, baseline 0)" in judged(network(0, **quick))["reasons"]
    assert judged(network(0, relearn_steps=np.array(np.inf)))["verdict"] != REMEMBERS


def test_a_bound_stands_beside_every_verdict():
    found = judged(network(0))
    assert 0 <= found["memory_left"] < 0.25
    assert 0.05 < found["memory_of_one"] < 0.6
    assert found["would_tell"] == ""


def test_what_cannot_be_told_says_what_would_tell():
    narrow = TERMS._replace(margin=0.05)
    found = judged(network(0), terms=narrow)
    assert found["verdict"] == CANNOT_TELL
    assert "leaves +-0.05" in found["reasons"]
    more = int(found["would_tell"].split(" ")[0])
    assert found["would_tell"] == f"{more} more references: --references {4 + more}"
    assert "no number of references" in judged(network(0), terms=TERMS._replace(margin=0.01))["would_tell"]


def test_without_references_a_measure_or_a_subject_nothing_is_claimed():
    alone = judged(network(0), references=1)
    assert alone["verdict"] == CANNOT_TELL
    assert "fewer than two never-seen networks" in alone["reasons"]
    lacking = network(0)
    del lacking.measures["loss_views"]
    assert judged(lacking)["verdict"] == CANNOT_TELL
    assert judged(network(0), terms=TERMS._replace(subjects=())) == {}


def test_a_blind_measure_shows_who_forgets_too_much_and_never_who_remembers():
    """The baseline is like a never-seen network: nothing was memorised, and the erased are marked all the same."""
    retrained = {str(seed): network(seed) for seed in (1, 2, 3)}
    for left, verdict in ((-1, OVER_FORGETS), (1, CANNOT_TELL)):
        findings = Findings(network(0, (left, left, left)), retrained, {"baseline": network(9)})
        found = judge(memories_of(findings, TERMS), findings, TERMS)
        assert found["verdict"] == verdict
        assert "as the baseline shows none" in found["reasons"] or "is blind" in found["reasons"]


def test_a_measure_whose_networks_have_other_subjects_is_left_out_and_a_verdict_that_fails_costs_nothing(monkeypatch):
    mine, retrained = network(0), {str(seed): network(seed) for seed in (1, 2, 3)}
    mine.measures["dice"] = mine.measures["dice"][:3]  # without the held-out subjects
    findings = Findings(mine, retrained, {"baseline": network(9, (1, 1, 1), steps=0.0)})
    assert memories_of(findings, TERMS).keys() == TERMS.measures.keys() - {"dice", "distance"}
    monkeypatch.setattr(concluding, "judge", lambda *_: 1 / 0)
    monkeypatch.setattr(concluding, "conclusions", dict)
    evidence = concluding.conclude(findings, TERMS)
    assert evidence.problems["verdict"] == "ZeroDivisionError: division by zero"
    assert evidence.columns["loss"] > 0


def test_never_seen_networks_that_agree_on_a_whole_number_spread_by_its_rounding():
    steps = {"relearn_steps": np.array(2.0)}
    retrained = {str(seed): network(seed, **steps) for seed in (1, 2, 3)}
    findings = Findings(network(0, steps=3.0), retrained, {"baseline": network(9, (1, 1, 1), steps=0.0)})
    memory = memories_of(findings, TERMS)["relearn_steps"]
    assert memory.group.high - memory.group.low > 0.1
    assert memory.sides == (0,)
    assert judge(memories_of(findings, TERMS), findings, TERMS)["verdict"] == NEVER_SEEN


def test_of_a_person_whom_nothing_tells_apart_nothing_is_bounded():
    """The baseline remembers the group by so little that no single subject's interval ends."""
    retrained = {str(seed): network(seed) for seed in (1, 2, 3)}
    findings = Findings(network(0), retrained, {"baseline": network(9, (0.2, 0.2, 0.01))})
    memories = memories_of(findings, TERMS)
    assert not np.isfinite(memories["dice"].subjects[2].high)
    assert np.isnan(judge(memories, findings, TERMS)["memory_of_one"])
