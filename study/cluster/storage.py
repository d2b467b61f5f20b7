"""Where trials keep their state: a folder, or a bucket that all nodes of a cluster reach."""

import re
import zipfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pyarrow.fs import FileSelector, FileSystem, FileType, copy_files

from study.records.files import replace_file
from study.records.settings import StudySettings
from trainables.trainable import STATE_FILE, WEIGHTS_FILE


class Storage:
    """The checkpoints of a study's sessions, as Tune lays them out: session-N/<trial>/checkpoint_M/.

    Attributes:
        uri: a folder's absolute path, or the address of one in an object store as pyarrow has it
            (s3://BUCKET/FOLDER, with ?endpoint_override=... for other services than AWS's).
        filesystem: that holds it.
        root: its path there.
    """

    def __init__(self, uri: str):
        """Open it; nothing is written.

        Raises:
            ValueError, OSError: for an address that no file system has.
        """
        self.uri = uri
        self.filesystem, self.root = FileSystem.from_uri(uri)

    def next_session(self) -> str:
        """A name that no earlier session has."""
        return f"session-{1 + max((_numbers(session)[-1] for session in self._sessions()), default=0)}"

    def newest_state(self, trial: str) -> str | None:
        """The newest complete state file of a trial in any session, as a URI; what was cut off is passed over.

        Sessions and checkpoints are numbered: no clock decides.
        """
        for checkpoint in self._checkpoints(trial):
            state = f"{checkpoint}/{STATE_FILE}"
            if self._is_whole(state):
                return below(self.uri, state.removeprefix(self.root).lstrip("/"))
        return None

    def final_weights(self, trial: str) -> str | None:
        """The path here of the weights that a trial has ended with, if it has and they have not been removed."""
        files = [f"{checkpoint}/{WEIGHTS_FILE}" for checkpoint in self._checkpoints(trial)]
        return next((file for file in files if self.filesystem.get_file_info(file).type == FileType.File), None)

    def _is_whole(self, state: str) -> bool:
        try:
            with self.filesystem.open_input_file(state) as file:
                return zipfile.is_zipfile(file)
        except (OSError, ValueError):  # not there, or too short to look at its end
            return False

    def forget(self, trial: str) -> None:
        """Remove a trial's checkpoints of all sessions."""
        for checkpoint in self._checkpoints(trial):
            self.filesystem.delete_dir(checkpoint)

    def keep_only(self, checkpoint: str) -> None:
        """Remove the trial's other checkpoints of the session. Tune would do it, and save all trials each time."""
        folder, _, name = checkpoint.rpartition("/")
        for other in self._folders(folder, "checkpoint_"):
            if not other.endswith(f"/{name}"):
                self.filesystem.delete_dir(other)

    def fetch(self, path: str, to: Path) -> None:
        """Copy a file from here; it appears whole."""
        replace_file(to, lambda temporary: copy_files(path, str(temporary), source_filesystem=self.filesystem))

    def _sessions(self) -> list[str]:
        return self._folders(self.root, "session-")

    def _checkpoints(self, trial: str) -> list[str]:
        """A trial's checkpoints of all sessions, the newest first."""
        sessions = self._sessions()
        found = [path for session in sessions for path in self._folders(f"{session}/{trial}", "checkpoint_")]
        return sorted(found, key=_numbers, reverse=True)

    def _folders(self, path: str, kind: str) -> list[str]:
        """The numbered folders of a kind below a path."""
        entries = self.filesystem.get_file_info(FileSelector(path, allow_not_found=True))
        folders = [entry for entry in entries if entry.type == FileType.Directory]
        return [folder.path for folder in folders if re.fullmatch(rf"{kind}\d+", folder.base_name)]


def storage_of(settings: StudySettings) -> Storage:
    """Where a study's trials keep their state: --storage, or the study's own folder."""
    if settings.storage:
        return Storage(below(settings.storage, settings.study_name))
    return Storage(str(settings.folder.absolute() / "tune"))


def below(uri: str, path: str) -> str:
    """The address of something below another; what follows a question mark stays at the end."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def _numbers(path: str) -> list[int]:
    """Of a session, and of a checkpoint in it."""
    return [int(number) for number in re.findall(r"/(?:session-|checkpoint_)(\d+)(?![^/])", path)][-2:]
