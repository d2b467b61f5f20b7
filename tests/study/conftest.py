"""A tiny real cohort, settings that study it, and MLflow stores of one's own."""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import ray
from filelock import FileLock

from study import run
from study.records.settings import StudySettings

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster  # imported where it is used: most tests need neither Ray nor MLflow

SUBJECTS = ("anna", "bert", "carla", "dora", "emil", "fritz")
PEOPLE = ("anna-mueller", "berta-schmidt", "carl-weber", "dora-fischer", "emil-wagner", "fritz-becker")


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny cohort, and of a cache that knows it: making them takes longer than most tests."""
    from trainables.cohorts.open_cohort import open_cohort

    folder = tmp_path_factory.mktemp("made")
    open_cohort(f"medicalnet:{write_cohort(folder / 'cohort', SUBJECTS)}", cache_dir=folder / "cache")
    return folder


@pytest.fixture
def cohort_list(_made: Path, tmp_path: Path) -> Path:
    """A tiny cohort of the six subjects."""
    return Path(shutil.copytree(_made / "cohort", tmp_path / "cohort")) / "list.txt"


def write_cohort(folder: Path, subjects: Sequence[str]) -> Path:
    """MedicalNet's list of some subjects: 16 x 16 x 16 voxels, two bright boxes (classes 1 and 2) in noise."""
    for part in ("image", "label"):
        (folder / part).mkdir(parents=True)
    for number, subject in enumerate(subjects):
        rng = np.random.default_rng(number)
        labels = np.zeros((16, 16, 16), np.uint8)
        low, high = 2 + number % 3, 12 + number // 3
        labels[low:high, low:8, 3:13], labels[low:high, 8:high, 3:13] = 1, 2
        image = 1 + 2 * labels + rng.normal(0, 0.5, labels.shape)
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), folder / f"image/{subject}.nii.gz")
        nib.save(nib.Nifti1Image(labels, np.eye(4)), folder / f"label/{subject}.nii.gz")
    file = folder / "list.txt"
    file.write_text("".join(f"image/{name}.nii.gz label/{name}.nii.gz\n" for name in subjects))
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is the study's for this test."""
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def settings(cohort_list: Path, cache: Path, _made: Path, tmp_path: Path) -> StudySettings:
    """A study of the tiny cohort, all of whose files lie in tmp_path; the cache knows the cohort alone."""
    shutil.copytree(_made / "cache", cache)
    return StudySettings(space="noisy_label", cohort=f"medicalnet:{cohort_list}", studies=tmp_path / "studies")


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make the tables of a new store, so tests copy one."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(_empty_store: Path, tmp_path: Path) -> str:
    """URI of an empty MLflow store."""
    return f"sqlite:///{shutil.copy(_empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture
def runs_in() -> Callable:
    """Reads a store back: the runs of an experiment by their `name` tag, as MLflow's own client gives them."""

    from mlflow import MlflowClient

    def read(uri: str, experiment: str) -> dict:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        runs = client.search_runs([found.experiment_id]) if found else []
        assert len({run.data.tags["name"] for run in runs}) == len(runs), "a run was made twice"
        return {run.data.tags["name"]: run for run in runs}

    return read


@pytest.fixture
def steps_in() -> Callable:
    """The (step, value) pairs that a store holds of a run's metric, in the order of their steps."""

    from mlflow import MlflowClient

    def read(uri: str, run, metric: str) -> list:
        history = MlflowClient(uri).get_metric_history(run.info.run_id, metric)
        return sorted((entry.step, entry.value) for entry in history)

    return read


@pytest.fixture
def closed_port() -> int:
    """A local port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


_HOLD = """
import sys
from pathlib import Path
from study.recording.ownership import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder():
    """Holds a study's folder in a process of its own until that one ends."""
    started = []

    def hold(folder: Path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(run.__file__).parents[1])},
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Done:
    """A study that has run.

    Attributes:
        studies: the folder of studies; the study is `s`.
        options: its command line, without --studies.
        cache: its LETHE_CACHE.
        output: what its terminal said.
        people: its subjects, whose names nobody may read.
    """

    studies: Path
    options: tuple[str, ...]
    cache: Path
    output: str
    people: tuple[str, ...] = PEOPLE

    @property
    def folder(self) -> Path:
        return self.studies / "s"

    @property
    def record(self) -> dict:
        return json.loads((self.folder / "study.json").read_text())

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / name)

    @property
    def trials(self) -> pd.DataFrame:
        return self.table("trials").set_index("id")

    @property
    def front(self) -> str:
        """Id of the one feasible trial."""
        (name,) = self.trials.query("on_front").index
        return name

    @property
    def other(self) -> str:
        """Id of the one that is infeasible, and so not on the front."""
        (name,) = self.trials.query("~feasible").index
        return name

    def copied(self, folder: Path) -> "Done":
        """The same in a folder that a test may change."""
        return replace(self, studies=Path(shutil.copytree(self.studies, folder / "studies")))

    def again(self, *options: str) -> tuple[int, str]:
        """Exit code and output of the same command once more, with further options."""
        return study_run(self.cache, *self.options, "--studies", str(self.studies), *options)


def shared_ray(cache: Path) -> None:
    """Two CPUs of this machine, in one Ray for all tests of a process: so its workers import torch and MONAI once."""
    if not ray.is_initialized():
        with patch.dict(os.environ, {"LETHE_CACHE": str(cache)}):
            ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@pytest.fixture(scope="session")
def ray_of() -> Callable:
    """Starts the Ray that tests share, unless it runs; its workers keep that cache."""
    return shared_ray


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks Ray for anything fails."""
    for name in ("init", "put", "get", "remote"):
        monkeypatch.setattr(ray, name, lambda *_, **__: pytest.fail("Ray is used"))


def study_run(cache: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of `study.run`."""
    shared_ray(cache)
    said = io.StringIO()
    environment = patch.dict(os.environ, {"LETHE_CACHE": str(cache), "COLUMNS": "200"})
    with environment, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run.main(list(arguments))
    return code, said.getvalue()


@pytest.fixture(scope="session")
def _done(tmp_path_factory: pytest.TempPathFactory, worker_id: str, _empty_store: Path) -> Done:
    """One real study with requests for all the tests of this folder that only read it.

    Of several processes of tests, the first that needs it runs it.
    """
    base = tmp_path_factory.getbasetemp()
    work = (base if worker_id == "master" else base.parent) / "done"
    said = work / "output.txt"
    options = (
        *("--space", "noisy_label", "--cohort", f"medicalnet:{work / 'patients/list.txt'}", "--name", "s"),
        *("--requests", "anna-mueller/berta-schmidt", "--heldout", "carl-weber,dora-fischer"),
        *(
            "--baseline-epochs",
            "20",
            "--references",
            "3",
            "--shadows",
            "2",
            "--forget-draws",
            "2",
        ),
        "--no-evidence",
        *("--trials", "2", "--epochs", "3", "--retain-floor", "0.81", "--concurrent", "1", "--cpus-per-trial", "1"),
        # The slow one hardly moves (retention 0.99), the fast one is thrown off (0.3 to 0.4): on every processor
        *("--set", "noise_rate=1.0", "--set", "forget_weight=1.0", "--set", "lr=1e-4|1e-2"),
    )
    with FileLock(f"{work}.lock"):
        if not said.exists():
            write_cohort(work / "patients", PEOPLE)
            (work / "studies").mkdir()
            shutil.copy(_empty_store, work / "studies/mlflow.db")
            code, output = study_run(work / "cache", *options, "--studies", str(work / "studies"))
            assert code == 0, output
            said.write_text(output)
    return Done(work / "studies", options, work / "cache", said.read_text())


@pytest.fixture(scope="session")
def _examined(_done: Done) -> Done:
    """That study, continued: now it has evidence, and one more reference that judges."""
    options = (*_done.options, "--references", "4")
    mine = replace(_done, options=options, studies=_done.studies.with_name("examined") / "studies")
    said = mine.studies.parent / "output.txt"
    with FileLock(f"{mine.studies.parent}.lock"):
        if not said.exists():
            _done.copied(mine.studies.parent)
            code, output = mine.again("--evidence")
            assert code == 0, output
            said.write_text(output)
    return replace(mine, output=said.read_text())


@pytest.fixture
def examined(_examined: Done, monkeypatch: pytest.MonkeyPatch) -> Done:
    """The study with evidence, and its cache; not to be changed."""
    monkeypatch.setenv("LETHE_CACHE", str(_examined.cache))
    return _examined


@pytest.fixture
def done(_done: Done, monkeypatch: pytest.MonkeyPatch) -> Done:
    """The study that has run, and its cache; not to be changed."""
    monkeypatch.setenv("LETHE_CACHE", str(_done.cache))
    return _done


@pytest.fixture(scope="module")
def bucket_keys() -> dict[str, str]:
    """With which nodes of `cluster` reach a bucket."""
    return {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


@pytest.fixture(scope="module")
def cluster(bucket_keys: dict[str, str]) -> Iterator["Cluster"]:
    """A head without CPUs and three nodes with one each."""
    from ray.cluster_utils import Cluster

    with patch.dict(os.environ, {name.upper(): value for name, value in bucket_keys.items()}):
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(3):
            nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    ray.shutdown()  # of the one that tests share
    yield nodes
    nodes.shutdown()


@pytest.fixture
def run_of() -> Callable:
    """Runs a study: cache and arguments -> exit code and output."""
    return study_run


@pytest.fixture
def short_of_memory() -> Iterator[None]:
    """A Ray of this machine's own that finds it short of memory, and so kills every actor soon after its start."""
    threshold = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "500"}
    ray.shutdown()
    with patch.dict(os.environ, threshold):
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


_OTHER = """
import sys
import ray
from study.cluster.placement import TrialPlacement

ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
group = TrialPlacement([{"CPU": 1}]).to_placement_group()
assert group.wait(60)
print(group.id.hex(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def local_ray(tmp_path: Path) -> None:
    """The Ray that tests share."""
    shared_ray(tmp_path / "cache")


@pytest.fixture
def other_driver() -> Iterator[Callable]:
    """Starts another driver on this one's Ray, which holds a trial's place there; gives its group's id."""
    processes = []

    def start() -> str:
        command = [sys.executable, "-c", _OTHER, ray.get_runtime_context().gcs_address]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return processes[-1].stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.wait()
