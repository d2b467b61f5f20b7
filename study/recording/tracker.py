"""MLflow follows the records: one thread sends what it lacks of them, and a study neither waits for it nor fails."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any

from mlflow.exceptions import MlflowException
from rich.markup import escape

from study.recording.mlflow_store import MlflowStore
from study.recording.recorder import Recorder
from study.recording.run_contents import StudyRuns, parent_tags
from study.records.settings import StudySettings

_GATHERING, _SHORTEST_PAUSE, _LONGEST_PAUSE, _PATIENCE = 0.5, 0.5, 30.0, 10.0
"""Seconds: between two looks at the records, between two attempts after an error, and from the last success to giving
up at the end."""

_TOGETHER = 200
"""Runs whose contents are read at a time."""


class Tracker:
    """Live logging, catching up and `study.sync` alike: the names of runs that may lack something, until they do not.

    Nothing else is kept here. After an error the thread looks again at what MLflow has, and goes on with the
    difference between that and the records; what it could not send `problem` tells of.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[], None]], MlflowStore],
        records: StudyRuns,
        tell: Callable[[str], None],
    ):
        """Start following.

        Args:
            connect: looks at what MLflow has, and calls its argument at every answer.
            records: what it should have.
            tell: hears when writing begins to fail, and when it works again, as rich has its markup.
        """
        self._connect, self._records, self._tell = connect, records, tell
        self._lacking: dict[str, None] = {}  # a set in the order of its changes
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
        if self._closing.is_set():
            return
        self._records.end()
        self._last_success = time.monotonic()
        self._closing.set()
        while self._thread.is_alive() and time.monotonic() - self._last_success < _PATIENCE:
            self._thread.join(0.1)
        self._given_up = True
        if self._thread.is_alive():
            self._lost = self._lost or self._failing or f"no answer for {_PATIENCE:.0f} s"

    def _follow(self) -> None:
        store: MlflowStore | None = None
        pause, done = _SHORTEST_PAUSE, False
        while not self._given_up and not done:
            over = self._closing.wait(0 if self._lacking else _GATHERING)  # what comes together is one request
            self._lacking |= dict.fromkeys(self._records.changed() - self._refused)
            try:
                if self._lacking:
                    store = store or self._connect(self._answered)
                    self._send(store)
                pause, done = _SHORTEST_PAUSE, over and not self._lacking
            except Exception as error:
                store = None  # the answer may be what was lost: look what is there
                self._failed(error)
                if self._closing.wait(pause):
                    time.sleep(min(pause, 1.0))
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _send(self, store: MlflowStore) -> None:
        """Send some runs what they lack; one that fails comes last the next time, one that is refused not at all."""
        names = list(islice(self._lacking, _TOGETHER))
        for run in self._records.contents({name: store.epoch(name) for name in names}):
            if self._given_up:
                return
            del self._lacking[run.name]
            try:
                store.send(run)
                self._succeeded()
            except Exception as error:
                if not _hopeless(error):
                    self._lacking[run.name] = None
                    raise
                self._refused.add(run.name)
                self._lost = self._lost or _reason(error)
                self._tell(escape(f"MLflow cannot be written, this is left out: {_reason(error)}"))

    def _answered(self) -> None:
        """Something has been read; that does not count for long where nothing can be written."""
        if self._failing is None:
            self._last_success = time.monotonic()

    def _succeeded(self) -> None:
        self._last_success = time.monotonic()
        if self._failing is not None:
            self._failing = None
            self._tell("MLflow can be written again")

    def _failed(self, error: Exception) -> None:
        first, self._failing = self._failing is None, _reason(error)
        if first:
            self._tell(escape(f"MLflow cannot be written, trying again: {_reason(error)}"))
        logging.getLogger(__name__).info("tracking failed", exc_info=True)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _hopeless(error: Exception) -> bool:
    """Whether trying again cannot help: the server has understood and refused, or a file is gone."""
    if isinstance(error, MlflowException):
        return 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in (408, 429)
    return isinstance(error, FileNotFoundError)


def follow(
    settings: StudySettings, description: Mapping[str, Any], recorder: Recorder, tell: Callable[[str], None]
) -> Tracker:
    """Have MLflow follow a study's records.

    Args:
        settings: of the study.
        description: its study.json.
        recorder: its tables.
        tell: hears when writing begins to fail, and when it works again.
    """
    artifacts = None if settings.tracking_uri else settings.studies.absolute() / "mlartifacts"
    connect = partial(MlflowStore, tracking_uri(settings), settings.family, settings.name, artifacts)
    return Tracker(connect, StudyRuns(recorder, settings.lasting, parent_tags(description)), tell)


def tracking_uri(settings: StudySettings) -> str:
    """The MLflow store: the given one, or the database beside the studies."""
    return settings.tracking_uri or f"sqlite:///{settings.studies.absolute() / 'mlflow.db'}"
