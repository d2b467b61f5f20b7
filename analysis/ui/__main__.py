"""`python -m analysis.ui`: the MLflow server with the Pareto front's pages."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from study.records.command_lines import command
from study.records.failure import StudyError
from study.records.files import STUDIES, absolute_store, studies_folder


@dataclass(frozen=True)
class UiSettings:
    """Serve MLflow with the Pareto front of every study at /lethe/.

    For example:
      python -m analysis.ui
      python -m analysis.ui --studies /data/studies --port 5001
    """

    studies: Path = field(default_factory=studies_folder)
    """Folder that holds all studies."""
    tracking_uri: str = ""
    """MLflow's database; by default sqlite:///<studies>/mlflow.db."""
    host: str = "127.0.0.1"
    """Address to listen on; others than this machine can read all studies where it is another."""
    port: int = 5000
    """Port to listen on."""


def serve(settings: UiSettings) -> None:
    """Become the server.

    Raises:
        StudyError: for options that it cannot serve.
    """
    if not settings.studies.is_dir():
        raise StudyError(f"--studies: no such folder {settings.studies}")
    if settings.tracking_uri.startswith(("http://", "https://")):
        raise StudyError(
            "--tracking-uri: name the database of the MLflow server, not its address;"
            " `mlflow server --app-name lethe` on its machine has the same pages"
        )
    studies = settings.studies.absolute()
    uri = absolute_store(settings.tracking_uri) or f"sqlite:///{studies / 'mlflow.db'}"
    Console().print(f"front           http://{settings.host}:{settings.port}/lethe/", highlight=False)
    environment = {STUDIES: str(studies), "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "lethe", "--backend-store-uri", uri]
    command += ["--host", settings.host, "--port", str(settings.port), "--workers", "1"]
    os.chdir(studies)  # `python -m` imports what lies in the folder that it starts in, whatever that is
    os.execve(sys.executable, command, {**os.environ, **environment})


main = command(UiSettings, serve, "python -m analysis.ui")

if __name__ == "__main__":
    sys.exit(main())
