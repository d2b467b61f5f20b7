"""How busy the cluster was with a study's trials."""

import time
from collections import Counter


class Utilisation:
    """Counts the seconds during which trials ran, and the nodes where they did."""

    def __init__(self) -> None:
        self._running: dict[str, float] = {}
        self._busy, self._first, self._last = 0.0, 0.0, 0.0
        self._nodes: dict[str, str] = {}

    def begin(self, trial: str) -> None:
        """A trial has got its share of a node."""
        self._running[trial] = time.monotonic()
        self._first = self._first or self._running[trial]

    def on(self, trial: str, node: str) -> None:
        """The node that a trial runs on."""
        self._nodes[trial] = node

    def end(self, trial: str) -> None:
        """A trial has given it back."""
        if trial in self._running:
            self._last = time.monotonic()
            self._busy += self._last - self._running.pop(trial)

    def share(self, places: int) -> float:
        """The share of these places that was in use, from the first trial's beginning to the last one's end."""
        seconds = places * (self._last - self._first)
        return self._busy / seconds if seconds else 0.0

    def by_node(self) -> Counter[str]:
        """How many trials ended on each node."""
        return Counter(self._nodes.values())
