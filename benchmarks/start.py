"""What starting a trial costs on a warm cluster: a whole study of short trials on the phantom, one trial at a time.

A start is the time from the end of a trial to its successor's first report, less that epoch's own seconds: recording,
the search's suggestion, Tune's scheduling and the reset of the reused actor. The first trial starts the actor.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from study import run, session
from study.terminal.live import StudyView

TRIALS = 20


class Stopwatch(StudyView):
    """A view that notes when trials end and first report."""

    starts: ClassVar[list[float]] = []
    _ended_at = time.perf_counter()
    _begun: ClassVar[set[str]] = set()

    def running(self, trial: str, result: Mapping[str, Any], epochs: int) -> None:
        if trial not in self._begun:
            self._begun.add(trial)
            self.starts.append(time.perf_counter() - self._ended_at - result["seconds"])

    def ended(self, trial: str, line: str, note: str) -> None:
        Stopwatch._ended_at = time.perf_counter()


def main() -> None:
    """Print the seconds of the starts on a warm cluster."""
    session.StudyView = Stopwatch  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        options = (
            f"--space noisy_label --epochs 2 --baseline-epochs 1 --trials {TRIALS} --concurrent 1 --studies {folder}"
        )
        run.main(options.split())
    _, *warm = Stopwatch.starts
    median, mean = statistics.median(warm), statistics.fmean(warm)
    print(f"{len(warm)} starts on a warm cluster: median {median:.3f} s, mean {mean:.3f} s, max {max(warm):.3f} s")


if __name__ == "__main__":
    main()
