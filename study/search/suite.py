"""The trials of a suite: a list in the order of the seeds, so that every recipe runs once before any runs again."""

from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher

from search_spaces.space import Suite
from study.records.rows import TrialRow
from study.records.trials import TrialConfig
from study.search.searcher import Suggestions, Unfinished


def suite_trials(suite: Suite, seed: int, baseline: str) -> list[TrialConfig]:
    """Every recipe with every seed: the root seed, and those that follow it."""
    return [
        TrialConfig(entry.strategy, suite.knobs_of(entry), seed + number, baseline)
        for number in range(suite.seeds)
        for entry in suite.entries
    ]


class SuiteSearch(Suggestions):
    """Suggests the trials of a suite that have not ended; `exhausted` once all have been suggested."""

    def __init__(self, trials: Sequence[TrialConfig], ended: Sequence[str], unfinished: Sequence[Unfinished]):
        """Start from all trials, the ids of those that have ended, and those that can continue from a checkpoint."""
        super().__init__()
        progress = {trial.id: (trial.checkpoint, trial.one_by_one) for trial in unfinished}
        self._left = [
            trial.trial(*progress.get(trial.signature, ())) for trial in trials if trial.signature not in set(ended)
        ]

    @property
    def exhausted(self) -> bool:
        """Nothing is left to suggest."""
        return not self._left

    def ended(self, row: TrialRow) -> None:
        """Nothing: no result changes what follows."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config."""
        return self._left.pop(0) if self._left and not self.closed else Searcher.FINISHED
