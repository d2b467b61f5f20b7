"""What the terminal shows of the evidence, and how steps are written."""

import io
import math

import pytest
from rich.console import Console

from analysis import numbers
from analysis.reports.terminal_tables import evidence_table, verdict
from study.records.evidence import EVIDENCE


def row(id, forget=0.5, evidence="0a1b2c", **found):
    empty = dict.fromkeys(EVIDENCE) | {"streisand": False}
    return {"id": id, "forget_dice": forget, **empty, "evidence": evidence, **found}


@pytest.mark.parametrize(
    ("remembers", "over", "streisand", "said"),
    [
        (True, False, False, "remembers"),
        (False, True, False, "over-forgets"),
        (False, True, True, "over-forgets, exposed"),
        (False, False, False, "as retrained"),
        (False, False, True, "as retrained, exposed"),
        (None, None, False, "unknown"),
        (None, None, True, "unknown, exposed"),
    ],
)
def test_a_verdict_in_words(remembers, over, streisand, said):
    assert verdict({"remembers": remembers, "over_forgets": over, "streisand": streisand}) == said


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_has_a_line_per_network_with_evidence(width):
    within = {"remembers": False, "over_forgets": False, "retrained_low": 0.414, "retrained_high": 0.766}
    rows = [
        row("baseline", 0.9123, **within | {"remembers": True}, loss_auc=1.0, relearn_steps=0.0, resurfaced_dice=0.9),
        row("none", evidence=None),
        row("0123456789ab", 0.6, **within, loss_auc=0.52, lira_auc=0.484, probe_auc=0.6, relearn_steps=math.inf),
        row("retrained", 0.61, retrained_low=math.nan, retrained_high=math.nan, relearn_steps=12.0),
    ]
    file = io.StringIO()
    Console(width=width, file=file, _environ={}).print(evidence_table(rows))
    lines = file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert "none" not in file.getvalue()
    shown = [line.replace("as retrained", "clean").split() for line in lines[-3:]]
    dash = numbers.MISSING
    assert shown == [
        ["baseline", "remembers", "0.912", "0.41", "0.77", "1.00", dash, dash, "0.900", "0"],
        ["0123456789ab", "clean", "0.600", "0.41", "0.77", "0.52", "0.48", "0.60", dash, "never"],
        ["retrained", "unknown", "0.610", dash, dash, dash, dash, dash, dash, "12"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (7.0, "7"), (16.6, "17"), (math.inf, "never"), (None, numbers.MISSING), (math.nan, numbers.MISSING)],
)
def test_steps_are_whole_or_never(value, text):
    assert numbers.steps(value) == text


def test_a_metric_may_have_fewer_digits():
    assert numbers.metric(0.456, digits=2) == "0.46"
    assert numbers.metric(0.456, signed=True, digits=1) == "+0.5"
