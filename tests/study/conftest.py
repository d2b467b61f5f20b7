"""A tiny real cohort, settings that study it, and MLflow stores of one's own."""

import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from mlflow import MlflowClient

from study.settings import StudySettings

SUBJECTS = ("anna", "bert", "carla", "dora", "emil", "fritz")


@pytest.fixture
def cohort_list(tmp_path: Path) -> Path:
    """MedicalNet's list of six subjects: 16 x 16 x 16 voxels, two bright boxes (classes 1 and 2) in noise."""
    folder = tmp_path / "cohort"
    for part in ("image", "label"):
        (folder / part).mkdir(parents=True)
    for number, subject in enumerate(SUBJECTS):
        rng = np.random.default_rng(number)
        labels = np.zeros((16, 16, 16), np.uint8)
        low, high = 2 + number % 3, 12 + number // 3
        labels[low:high, low:8, 3:13], labels[low:high, 8:high, 3:13] = 1, 2
        image = 1 + 2 * labels + rng.normal(0, 0.5, labels.shape)
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), folder / f"image/{subject}.nii.gz")
        nib.save(nib.Nifti1Image(labels, np.eye(4)), folder / f"label/{subject}.nii.gz")
    file = folder / "list.txt"
    file.write_text("".join(f"image/{name}.nii.gz label/{name}.nii.gz\n" for name in SUBJECTS))
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is the study's for this test."""
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def settings(cohort_list: Path, cache: Path, tmp_path: Path) -> StudySettings:
    """A study of the tiny cohort, all of whose files lie in tmp_path."""
    return StudySettings(space="noisy_label", cohort=f"medicalnet:{cohort_list}", studies=tmp_path / "studies")


@pytest.fixture(scope="session")
def _empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make the tables of a new store, so tests copy one."""
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

    def read(uri: str, experiment: str) -> dict:
        client = MlflowClient(uri)
        found = client.get_experiment_by_name(experiment)
        runs = client.search_runs([found.experiment_id])
        assert len({run.data.tags["name"] for run in runs}) == len(runs), "a run was made twice"
        return {run.data.tags["name"]: run for run in runs}

    return read


@pytest.fixture
def steps_in() -> Callable:
    """The (step, value) pairs that a store holds of a run's metric, in the order of their steps."""

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
