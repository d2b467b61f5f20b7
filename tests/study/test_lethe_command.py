"""`lethe` where the working folder holds what `python -m` would import instead of ours."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from study import __main__ as lethe
from study.cluster.remote_driver import _START
from study.records.files import DISTRIBUTION

ROOT = Path(lethe.__file__).parents[1]
SCRIPT = "import sys\nfrom study.__main__ import main\nsys.exit(main())\n"  # as pip writes it
JOIN = """
import ray
from study.cluster.joining import join
from study.records.files import digest_of
join(include_dashboard=False, num_cpus=1, logging_level="ERROR", log_to_driver=False)
print(ray.get(ray.remote(digest_of).remote("x")) == digest_of("x"))
"""


@pytest.fixture
def hostile(tmp_path):
    """A folder whose analysis.py and packages fail when they are imported."""
    folder = tmp_path / "work"
    for name in ("study", "trainables", "search_spaces"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('the folder was imported')")
    (folder / "analysis.py").write_text("raise ImportError('the folder was imported')")
    return folder


def start(folder, script, *arguments, **options):
    file = folder.parent / "bin/lethe"
    file.parent.mkdir(exist_ok=True)
    file.write_text(script)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LETHE_CACHE": str(folder.parent / "cache"),
        "COLUMNS": "120",
    }
    pipe = subprocess.PIPE
    command = [sys.executable, str(file), *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, **options)


def said(folder, *arguments, script=SCRIPT):
    process = start(folder, script, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def test_the_installed_command_is_this_one_and_knows_its_version():
    points = [point for point in entry_points(group="console_scripts") if point.dist.name == DISTRIBUTION]
    assert [(point.name, point.load()) for point in points][:1] == [("lethe", lethe.main)]


def test_every_word_is_a_command_that_is_called_by_it(hostile, capsys):
    for word in ("run", "status", "ui", "report", "compare", "sync"):
        with pytest.raises(SystemExit) as exit_:
            lethe.main([word, "--help"])
        shown = capsys.readouterr().out
        assert (exit_.value.code, f"usage: lethe {word} " in shown, "python -m" in shown) == (0, True, False)


def test_without_a_command_it_lists_them(capsys):
    assert (lethe.main(["--help"]), lethe.main(["paint"]), lethe.main([])) == (0, 2, 2)
    shown = capsys.readouterr()
    assert all(f"  {word}" in shown.out for word in lethe.COMMANDS)
    assert "no command 'paint'" in shown.err


@pytest.mark.slow
def test_a_hostile_folder_is_not_imported(hostile):
    assert said(hostile, "status") == (0, "no study in studies\n", "")
    code, out, _ = said(hostile, "run", "--space", "noisy_label", "--explain")
    assert (code, "strategy noisy_label" in out) == (0, True)


@pytest.mark.slow
def test_nor_by_rays_workers(hostile):
    code, out, err = said(hostile, script=JOIN)
    assert code == 0, err
    assert out == "True\n"


@pytest.mark.slow
def test_nor_by_a_driver_on_a_clusters_head(hostile):
    done = subprocess.run(
        [sys.executable, "-c", _START, "--space", "noisy_label", "--explain"],
        cwd=hostile,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "strategy noisy_label" in done.stdout) == (0, True), done.stderr


@pytest.mark.slow
def test_nor_by_the_server_of_the_pages_and_of_mlflow(hostile, closed_port, store):
    """One address has both; MLflow's database is the one beside the studies."""
    (hostile / "studies").mkdir()
    Path(store.removeprefix("sqlite:///")).rename(hostile / "studies/mlflow.db")
    server = start(hostile, SCRIPT, "ui", "--port", str(closed_port), start_new_session=True)
    address, latest = f"http://127.0.0.1:{closed_port}", time.monotonic() + 180
    try:
        while True:
            assert server.poll() is None, server.communicate()
            assert time.monotonic() < latest, "no answer"
            with contextlib.suppress(urllib.error.URLError):
                studies = urllib.request.urlopen(f"{address}/lethe/api/studies", timeout=60).read()
                break
            time.sleep(0.1)
        assert json.loads(studies) == []
        assert b"MLflow" in urllib.request.urlopen(f"{address}/", timeout=60).read()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()
    assert list(hostile.rglob("*.db")) == [hostile / "studies/mlflow.db"]
