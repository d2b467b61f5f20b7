from collections import Counter

from study.cluster.nodes import Node, to_come

SPOT = {"resources": {"CPU": 8, "GPU": 1, "memory": 1e10}, "max_workers": 4}
BIG = {"resources": {"CPU": 96, "GPU": 8}, "max_workers": 1}
HEAD = Node(0, 0)


def test_an_autoscaler_brings_workers_up_to_its_limits():
    assert Counter(to_come({"spot": SPOT}, 10, [HEAD])) == {Node(8, 1): 4}
    assert Counter(to_come({"spot": SPOT}, 3, [HEAD])) == {Node(8, 1): 3}


def test_the_largest_workers_come_first():
    assert to_come({"spot": SPOT, "big": BIG}, 3, [HEAD]) == [Node(96, 8), Node(8, 1), Node(8, 1)]


def test_workers_that_are_there_do_not_come_again():
    there = [HEAD, Node(8, 1), Node(8, 1)]
    assert Counter(to_come({"spot": SPOT, "on_demand": SPOT}, 4, there)) == {Node(8, 1): 2}
    assert to_come({"spot": SPOT}, 4, [HEAD, *[Node(8, 1)] * 4]) == []


def test_workers_of_unknown_size_are_not_counted_on():
    """Those of `provider: local` tell what they have when they are there."""
    assert to_come({"local": {"resources": {}, "max_workers": 2}}, 2, [Node(4, 0)]) == []


def test_without_an_autoscaler_nothing_comes():
    assert to_come({}, 0, [Node(4, 0)]) == []
