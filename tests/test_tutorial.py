"""docs/tutorial.ipynb, executed as a reader would."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_tutorial_runs_from_its_first_cell_to_its_last(tmp_path, monkeypatch):
    notebook = nbformat.read(ROOT / "docs/tutorial.ipynb", 4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("LETHE_CACHE", str(tmp_path / "cache"))
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    printed = "\n".join(
        output["text"] if output.output_type == "stream" else output["data"].get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert "--trials must be greater than or equal to 1, but got 0" in printed
    assert "(3, True)" in printed
    assert "model.safetensors" in printed
    assert (tmp_path / "unlearned/model.pth").exists()
