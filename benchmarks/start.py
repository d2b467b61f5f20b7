"""What starting a trial costs on a warm cluster: a whole study of short trials on the phantom, one trial at a time.

A start is the time from the end of a trial to its successor's first report, less that epoch's own seconds: recording,
the search's suggestion, Tune's scheduling and the reset of the reused actor. The first trial starts the actor.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from study import session
from study.plan import make_plan
from study.settings import StudySettings
from study.view import StudyView

TRIALS = 20


class Stopwatch(StudyView):
    """A view that notes when trials end and first report."""

    starts: list[float] = []  # noqa: RUF012
    _ended_at = time.perf_counter()
    _begun: set[str] = set()  # noqa: RUF012

    def running(self, trial: str, result: Mapping[str, Any], epochs: int) -> None:
        if trial not in self._begun:
            self._begun.add(trial)
            self.starts.append(time.perf_counter() - self._ended_at - result["seconds"])

    def ended(self, trial: str, line: str, note: str) -> None:
        Stopwatch._ended_at = time.perf_counter()


def main() -> None:
    """Print the seconds of the first start and of the others."""
    session.StudyView = Stopwatch  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        settings = StudySettings(
            space="noisy_label", epochs=2, baseline_epochs=1, trials=TRIALS, concurrent=1, studies=Path(folder)
        )
        session.run_study(make_plan(settings), Console(quiet=True))
    first, *others = Stopwatch.starts
    median, mean = statistics.median(others), statistics.fmean(others)
    print(f"first start {first:.2f} s")
    print(
        f"{len(others)} starts on a warm cluster: median {median:.3f} s, mean {mean:.3f} s, max {max(others):.3f} s"
    )


if __name__ == "__main__":
    main()
