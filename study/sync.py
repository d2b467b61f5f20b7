"""`python -m study.sync`: send to MLflow what it lacks of a study's records."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape

from study.records.command_lines import command
from study.records.failure import FAILED, fail
from study.records.files import studies_folder


@dataclass(frozen=True)
class SyncSettings:
    """Send to MLflow what it lacks of a study: after its server was gone, or to fill another one.

    What is there already stays as it is; a second call sends nothing.

    For example:
      python -m study.sync noisy_label-phantom-1a2b3c
      python -m study.sync NAME --tracking-uri http://127.0.0.1:5000
    """

    study: Annotated[str, tyro.conf.Positional]
    """Name of the study."""
    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies."""
    tracking_uri: str = ""
    """MLflow server or store; by default the study's own."""


def sync(settings: SyncSettings) -> int:
    """Send one study; returns the exit code.

    Raises:
        StudyError: there is no such study, or it is running.
    """
    from study.recording.ownership import alone
    from study.recording.recorder import Recorder, records_of
    from study.recording.tracker import follow, tracking_uri
    from study.records.reading import named_study
    from study.records.study_record import recorded_settings

    console, folder = Console(), settings.studies / settings.study
    study = named_study(settings.studies, settings.study)
    stored = recorded_settings(folder)
    stored = replace(stored, tracking_uri=settings.tracking_uri or stored.tracking_uri)
    with alone(folder):
        recorder = Recorder(folder, study)
        recorder.close()
        recorder.result(records_of(folder), recorder.ended_trials >= study.planned)
        tracker = follow(stored, recorder, console.print)
        tracker.close()
    if tracker.problem:
        return fail(tracker.problem, code=FAILED)
    said = f"{len(recorder.rows)} trials of {settings.study} are in {escape(tracking_uri(stored))}"
    console.print(said, highlight=False, soft_wrap=True)
    return 0


main = command(SyncSettings, sync, "python -m study.sync")

if __name__ == "__main__":
    sys.exit(main())
