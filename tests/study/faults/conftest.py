"""Drivers as processes of their own, one study that nothing disturbs, and MLflow servers that a test may kill."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import pytest
from filelock import FileLock

from study import run
from study.records.metrics import METRICS

ROOT = Path(run.__file__).parents[1]
PATIENCE = 240
"""Seconds that a process gets for what it does in 20 on an idle machine."""


def wait_until(condition: Callable, alive: Callable[[], str | None], seconds: float = PATIENCE) -> None:
    """Wait for a condition; fails when `alive` tells of an end, or after a time."""
    end = time.monotonic() + seconds
    while not condition():
        over = alive()
        assert over is None, over
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


class Driver:
    """A command of its own process group, as a terminal starts it, whose output goes to a file."""

    def __init__(self, arguments: tuple, log: Path, cwd: Path, environment: dict[str, str]):
        self._log, self.arguments = log, arguments
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *map(str, arguments)],
                cwd=cwd,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid, self._orphans = self.process.pid, []

    @property
    def said(self) -> str:
        """All output until now."""
        return self._log.read_text()

    def until(self, condition: Callable, seconds: float = PATIENCE) -> None:
        """Wait for a condition while the process lives."""
        wait_until(condition, lambda: None if self.process.poll() is None else f"it has ended: {self.said}", seconds)

    def ends(self, code: int, seconds: float = PATIENCE) -> str:
        """Wait for its end with an exit code; returns all its output."""
        found = self.process.wait(seconds)
        assert found == code, self.said
        return self.said

    def below(self, name: str) -> list[psutil.Process]:
        """The processes that it has started whose name holds a text."""
        return [found for found in psutil.Process(self.pid).children(recursive=True) if name in found.name()]

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes of trials, which Ray names by what they do."""
        return [found for found in self.below("ray::") if "Trainable" in found.name() or "Trial" in found.name()]

    def kill(self) -> None:
        """SIGKILL, as the kernel sends it when memory is out."""
        self._orphans = self.below("")
        self.process.kill()
        self.process.wait()

    def clear(self) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.kill()
        for process in self._orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


@dataclass(frozen=True)
class Study:
    """A study of three tiny phantoms: its folder, and the drivers that a test starts.

    Attributes:
        studies: the folder of studies.
        name: of this one.
        cache: its LETHE_CACHE.
        options: of every driver beside where and on what.
        space: what it searches.
        cwd: the checkout whose code runs.
        drivers: those started.
    """

    studies: Path
    name: str
    cache: Path
    options: tuple = ()
    space: str = "noisy_label"
    cwd: Path = ROOT
    drivers: list[Driver] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.studies / self.name

    @property
    def store(self) -> str:
        """Its own MLflow store."""
        return f"sqlite:///{self.studies / 'mlflow.db'}"

    @property
    def command(self) -> tuple:
        where = ("--studies", self.studies, "--name", self.name, "--space", self.space)
        cohort = () if "--cohort" in self.options else ("--cohort", "phantom:16x16x16,3")
        split = ("--forget-count", 1, "--heldout-count", 1, "--references", 1, "--no-evidence")
        fit = () if "--baseline-epochs" in self.options else ("--baseline-epochs", 3)
        return ("study.run", *where, *cohort, *split, *fit, *self.options)

    @property
    def resume(self) -> tuple:
        return ("study.run", "--resume", self.name, "--studies", self.studies)

    def start(self, *arguments: object, **environment: object) -> Driver:
        """A driver, by default of the study's command."""
        log = self.studies.parent / f"{self.studies.name}-{self.name}-{len(self.drivers)}.log"
        settings = {
            **os.environ,
            "LETHE_CACHE": str(self.cache),
            "COLUMNS": "120",
            "OMP_WAIT_POLICY": "PASSIVE",  # a thread that waits leaves the CPU to others
            "RAY_worker_niceness": "0",
            **{name: str(value) for name, value in environment.items()},
        }
        self.drivers.append(Driver(arguments or self.command, log, self.cwd, settings))
        return self.drivers[-1]

    def table(self, name: str, *key: str) -> pd.DataFrame:
        """A table as docs/formats.md says that it is to be read while the study runs."""
        journal = self.folder / name / "_journal.jsonl"
        lines = journal.read_text().rpartition("\n")[0].splitlines() if journal.exists() else []
        parts = [pd.read_parquet(file) for file in sorted((self.folder / name).glob("*.parquet"))]
        rows = pd.concat([*parts, pd.DataFrame([json.loads(line) for line in lines])])
        return rows if rows.empty else rows.drop_duplicates(list(key), keep="last")

    @property
    def trials(self) -> pd.DataFrame:
        """By id, also of a study that runs or was killed."""
        return self.table("trials", "id").set_index("id")

    @property
    def history(self) -> pd.DataFrame:
        """Epochs of trials and references, also of a study that runs or was killed."""
        return self.table("history", "id", "epoch")

    def epochs_of(self, trial: str) -> list[int]:
        """The epochs on record of a trial, sorted."""
        history = self.history
        return sorted(history.epoch[history.id == trial])

    @property
    def running(self) -> list[str]:
        """Ids of the trials that have not ended."""
        trials = self.trials
        return list(trials.index[trials.status == "running"])

    def reached(self, ended: int, epochs: int, at_once: int = 1) -> Callable[[], bool]:
        """Whether so many trials have ended and as many run at once, each of so many epochs at least."""

        def reached() -> bool:
            if not (self.folder / "trials/_journal.jsonl").exists():
                return False
            trials = self.table("trials", "id")
            if trials.empty or (trials.status != "running").sum() < ended:
                return False
            running = self.running
            return len(running) >= at_once and all(len(self.epochs_of(trial)) >= epochs for trial in running)

        return reached

    def states(self, trial: str) -> list[Path]:
        """A trial's state files, oldest first."""
        return sorted(self.folder.glob(f"tune/session-*/{trial}/checkpoint_*/state.pt"))

    def saved(self, trial: str) -> int:
        """The epoch of a trial's newest state file that has been written to its end."""
        import torch

        for state in reversed(self.states(trial)):
            with contextlib.suppress(RuntimeError):
                return int(torch.load(state, weights_only=True)["epoch"])
        return 0

    def final(self, name: str) -> pd.DataFrame:
        """A table of a study that has ended, with nothing but pandas."""
        assert len(list((self.folder / name).iterdir())) == 1  # one file and no journal
        return pd.read_parquet(self.folder / name)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of tests share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "faults"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    """One cache for all studies here, since fits take long."""
    return shared / "cache"


@pytest.fixture(scope="session")
def _studies(cache: Path, _empty_store: Path) -> Iterator[Callable]:
    """Makes studies; what they have started is gone at the end."""
    made: list[Study] = []

    def make(folder: Path, name: str = "s", *options: object, **attributes: object) -> Study:
        folder.mkdir(exist_ok=True)
        if not (folder / "mlflow.db").exists():
            shutil.copy(_empty_store, folder / "mlflow.db")
        made.append(Study(folder, name, **{"cache": cache, "options": options, **attributes}))
        return made[-1]

    yield make
    for study in made:
        for driver in study.drivers:
            driver.clear()


@pytest.fixture
def study_in(_studies: Callable) -> Iterator[Callable]:
    """Makes a study in a folder: name, options and attributes -> Study."""
    made: list[Study] = []

    def make(*arguments: object, **attributes: object) -> Study:
        made.append(_studies(*arguments, **attributes))
        return made[-1]

    yield make
    for study in made:
        for driver in study.drivers:
            driver.clear()


@pytest.fixture
def gone() -> Callable:
    """Asserts that processes end within seconds."""

    def check(processes: list[psutil.Process]) -> None:
        end = time.monotonic() + 15
        while left := [process for process in processes if process.is_running() and process.status() != "zombie"]:
            assert time.monotonic() < end, left
            time.sleep(0.1)

    return check


REPEATABLE = ("--concurrent", 1, "--trials", 3, "--set", "epochs=25")


@pytest.fixture
def repeatable(study_in: Callable, tmp_path: Path) -> Callable:
    """Makes a study with the settings of `undisturbed`: folder, further options -> Study."""

    def make(*options: object, folder: Path | None = None, **attributes: object) -> Study:
        return study_in(folder or tmp_path / "studies", "s", *REPEATABLE, *options, **attributes)

    return make


@pytest.fixture(scope="session")
def undisturbed(_studies: Callable, shared: Path) -> Study:
    """A finished study of three trials, one at a time, that nothing has disturbed; the first process runs it."""
    over = shared / "over"
    with FileLock(shared / ".lock"):
        study = _studies(shared / "undisturbed", "s", *REPEATABLE)
        if not over.exists():
            assert "Traceback" not in study.start().ends(0)
            over.touch()
    return study


@pytest.fixture
def same_as_undisturbed(undisturbed: Study) -> Callable:
    """Asserts that a study that has ended holds what `undisturbed` does, bit for bit, and nothing twice."""

    def check(study: Study) -> None:
        for name in ("trials", "history", "subjects"):
            mine, other = (one.final(name).drop(columns="seconds", errors="ignore") for one in (study, undisturbed))
            pd.testing.assert_frame_equal(mine, other, check_exact=True)

    return check


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def held_by(uri: str, name: str) -> dict[str, dict]:
    """What MLflow has of a study, by its runs' names: id, status, parameters, tags, and metrics as (step, value)."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [found.experiment_id for found in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.study = '{name}'", max_results=1000)
    assert len({run.data.tags["name"] for run in runs}) == len(runs), "a run was made twice"
    return {
        run.data.tags["name"]: {
            "id": run.info.run_id,
            "status": run.info.status,
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": {
                metric: [(row.step, row.value) for row in client.get_metric_history(run.info.run_id, metric)]
                for metric in run.data.metrics
            },
        }
        for run in runs
    }


class Server:
    """An `mlflow server` at a port of its own, which a test may stop and start again."""

    def __init__(self, folder: Path, store: str):
        self._port = free_port()
        self.uri, self._folder, self._store = f"http://127.0.0.1:{self._port}", folder, store
        self._process: subprocess.Popen | None = None

    def start(self) -> "Server":
        """Returns once it answers."""
        where = ("--backend-store-uri", self._store, "--artifacts-destination", str(self._folder / "artifacts"))
        with (self._folder / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *where, "--workers", "1", "--port", str(self._port)],
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._answers, lambda: None if self._process.poll() is None else "the server has ended")
        return self

    def _answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.uri}/health", timeout=1).status == 200
        except OSError:
            return False

    def signal(self, number: int) -> None:
        """Send all its processes a signal."""
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def server_on() -> Iterator[Callable]:
    """Starts an MLflow server: folder, database URL -> Server."""
    made: list[Server] = []

    def start(folder: Path, store: str) -> Server:
        made.append(Server(folder, store))
        return made[-1].start()

    yield start
    for server in made:
        server.kill()


@pytest.fixture
def port() -> int:
    """A local port at which nobody listens."""
    return free_port()


class Postgres:
    """A PostgreSQL server with a database in a folder of its own; it refuses to run as root."""

    def __init__(self, port: int):
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        self._programs = programs[-1] if programs else Path(shutil.which("initdb") or "none").parent
        if not (self._programs / "initdb").exists():
            pytest.skip("PostgreSQL is not installed")
        pytest.importorskip("psycopg2")
        self.port, self.folder = port, Path(tempfile.mkdtemp(prefix="lethe-postgres-"))
        self._user = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self._user:
            shutil.chown(self.folder, "nobody")
        made = (self._programs / "initdb", "-D", self.folder / "data", "-U", "lethe", "-A", "trust", "--no-sync")
        subprocess.run(made, cwd=self.folder, check=True, capture_output=True, **self._user)
        self.start()

    def start(self) -> None:
        """Returns at once."""
        where = ("-D", self.folder / "data", "-p", str(self.port), "-k", self.folder, "-F")
        with (self.folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", *where],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._user,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        """A signal to every process of the server."""
        os.killpg(self._process.pid, number)
        self._process.wait()

    def stop(self) -> None:
        """As after a crash, `pg_ctl -m immediate`: no connection is told."""
        stop = (self._programs / "pg_ctl", "stop", "-D", self.folder / "data", "-m", "immediate")
        subprocess.run(stop, cwd=self.folder, check=True, capture_output=True, **self._user)
        self._process.wait()

    @property
    def uri(self) -> str:
        """Of its database, as MLflow takes it."""
        return f"postgresql+psycopg2://lethe@127.0.0.1:{self.port}/postgres"


@pytest.fixture
def postgres(port: int) -> Iterator[Postgres]:
    """A PostgreSQL server."""
    server = Postgres(port)
    yield server
    server.kill(signal.SIGINT)  # lets it take its shared memory along
    shutil.rmtree(server.folder)


@pytest.fixture
def held_in_mlflow() -> Callable:
    """What a server or store has of a study: URI, name -> runs by name."""
    return held_by


@pytest.fixture
def complete_in_mlflow() -> Callable:
    """Asserts that a server or store has all of a study that has ended, once; returns what it has."""

    from study.recording.run_contents import metric_name

    def check(uri: str, study: Study) -> dict:
        held, history = held_by(uri, study.name), study.final("history")
        trials = study.final("trials").set_index("id")
        assert set(held) == {"study", "baseline", "retrained", *trials.index}
        assert {run["status"] for run in held.values()} == {"FINISHED"}
        for trial, row in trials.iterrows():
            epochs = history[history.id == trial]
            for metric in METRICS:
                logged = held[trial]["metrics"][metric_name(metric)]
                assert sorted(logged) == [*zip(epochs.epoch, epochs[metric], strict=True)]
            assert float(held[trial]["params"]["lr"]) == row.lr
            assert held[trial]["tags"]["on_front"] == str(row.on_front).lower()
        assert held["study"]["tags"]["best_trial"] in trials.index
        return held

    return check


@pytest.fixture
def sent_later(complete_in_mlflow: Callable) -> Callable:
    """Asserts that the command that a study's output names sends MLflow all that it lacks, once."""

    def check(study: Study, output: str, uri: str) -> None:
        told = r"MLflow could not be written \(.+\); the records are complete; send the rest with python -m (.+)"
        (arguments,) = map(shlex.split, re.findall(told, output))
        trials = len(study.final("trials"))
        assert study.start(*arguments).ends(0) == f"{trials} trials of {study.name} are in {uri}\n"
        held = complete_in_mlflow(uri, study)
        study.start(*arguments).ends(0)
        assert held_by(uri, study.name) == held

    return check
