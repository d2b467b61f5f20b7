import pytest

from study.cluster import utilisation as module
from study.cluster.utilisation import Utilisation


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_the_share_is_busy_time_over_places_and_time(clock):
    """Two places: one trial of 10 s and then one of 10 s on the first, one of 10 s on the second: 30 of 40 s."""
    busy = Utilisation()
    busy.begin("a")
    busy.begin("b")
    clock[0] = 110.0
    busy.end("a")
    busy.end("b")
    busy.begin("c")
    clock[0] = 120.0
    busy.end("c")
    assert busy.share(2) == pytest.approx(0.75)
    assert busy.share(1) == pytest.approx(1.5)


def test_a_trial_that_moved_counts_where_it_ended(clock):
    busy = Utilisation()
    for trial, node in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("a", "10.0.0.2")]:
        busy.on(trial, node)
    assert busy.by_node() == {"10.0.0.2": 2}


def test_nothing_ran():
    busy = Utilisation()
    busy.end("never begun")
    assert (busy.share(4), busy.by_node()) == (0.0, {})
