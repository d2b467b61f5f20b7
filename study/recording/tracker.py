"""MLflow follows the records: one thread sends what it lacks of them, and a study neither waits for it nor fails."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import islice

from mlflow.exceptions import MlflowException
from rich.markup import escape

from study.recording.mlflow_store import MlflowStore
from study.recording.recorder import Recorder
from study.recording.run_contents import RunState, StudyRuns, parent_tags
from study.records.settings import StudySettings

_GATHERING, _SHORTEST_PAUSE, _LONGEST_PAUSE, _PATIENCE = 0.5, 0.5, 30.0, 10.0
"""Seconds: between two looks at the records, between two attempts after an error, and from the last success to giving
up at the end."""

_TOGETHER = 200
"""Runs whose contents are read at a time."""


class Tracker:
    """Live logging, catching up and `study.sync` alike: what MLflow lacks of the records is sent until it has all.

    After an error the thread looks again at what MLflow has, and goes on with the difference.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[], None]], MlflowStore],
        runs: StudyRuns,
        tell: Callable[[str], None],
    ):
        """Start following.

        Args:
            connect: looks at what MLflow has, and calls its argument at every answer.
            runs: what it should have.
            tell: hears when writing begins to fail, and when it works again, as rich has its markup.
        """
        self._connect, self._runs, self._tell = connect, runs, tell
        self._sent: dict[str, RunState] = {}
        self._failures: Counter[str] = Counter()
        self._refused: set[str] = set()
        self._lost: str | None = None
        self._failing: str | None = None
        self._closing, self._given_up, self._last_success = threading.Event(), False, time.monotonic()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str | None:
        """Why MLflow lacks something; None if it does not."""
        return self._lost or self._failing

    def close(self) -> None:
        """End the session's runs, and wait until all is sent or nothing has succeeded for a while."""
        self._last_success = time.monotonic()
        self._closing.set()
        while self._thread.is_alive() and time.monotonic() - self._last_success < _PATIENCE:
            self._thread.join(0.1)
        self._given_up = True
        if self._thread.is_alive():
            self._lost = self._lost or self._failing or f"no answer for {_PATIENCE:.0f} s"

    def lacking(self) -> dict[str, RunState]:
        """The runs that MLflow may lack something of; those that could not be sent come last."""
        states = self._runs.states(over=self._closing.is_set())
        names = [
            name for name, state in states.items() if state != self._sent.get(name) and name not in self._refused
        ]
        return {name: states[name] for name in sorted(names, key=self._failures.__getitem__)}

    def _follow(self) -> None:
        store: MlflowStore | None = None
        pause, done = _SHORTEST_PAUSE, False
        while not self._given_up and not done:
            over = self._closing.wait(_GATHERING)  # what comes together is one request
            try:
                store = store or self._connect(self._answered)
                done = not self._send(store) and over
                if self._failing is not None:
                    self._failing = None
                    self._tell("MLflow can be written again")
                pause = _SHORTEST_PAUSE
            except Exception as error:
                store, self._sent = None, {}  # the answer may be what was lost: look what is there
                if self._failing is None:
                    self._tell(escape(f"MLflow cannot be written, trying again: {_reason(error)}"))
                self._failing = _reason(error)
                logging.getLogger(__name__).info("tracking failed", exc_info=True)
                if self._closing.wait(pause):
                    time.sleep(min(pause, 1.0))
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _send(self, store: MlflowStore) -> bool:
        """Send some runs what they lack; tells whether there were any."""
        lacking = dict(islice(self.lacking().items(), _TOGETHER))
        for name, content in self._runs.contents(lacking, store.epoch):
            try:
                if store.send(name, content):
                    self._last_success = time.monotonic()
                self._sent[name] = lacking[name]
            except Exception as error:
                self._failures[name] += 1
                if not _hopeless(error):
                    raise
                self._refused.add(name)
                self._lost = self._lost or _reason(error)
                self._tell(escape(f"MLflow cannot be written, this is left out: {_reason(error)}"))
        return bool(lacking)

    def _answered(self) -> None:
        """Something has been read; that does not count for long where nothing can be written."""
        if self._failing is None:
            self._last_success = time.monotonic()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _hopeless(error: Exception) -> bool:
    """Whether trying again cannot help: the server has understood and refused, or a file is gone."""
    if isinstance(error, MlflowException):
        return 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in (408, 429)
    return isinstance(error, FileNotFoundError)


def follow(settings: StudySettings, recorder: Recorder, tell: Callable[[str], None]) -> Tracker:
    """Have MLflow follow a study; `tell` is as in `Tracker`."""
    artifacts = None if settings.tracking_uri else settings.studies.absolute() / "mlartifacts"
    connect = partial(MlflowStore, tracking_uri(settings), settings.family, settings.name, artifacts)
    return Tracker(connect, StudyRuns(recorder, settings.lasting, parent_tags(recorder.record)), tell)


def tracking_uri(settings: StudySettings) -> str:
    """The MLflow store: the given one, or the database beside the studies."""
    return settings.tracking_uri or f"sqlite:///{settings.studies.absolute() / 'mlflow.db'}"
