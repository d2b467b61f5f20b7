"""The server's app over a folder of studies, in a process of its own, and a real Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE = 180
"""Seconds that a server may take to start on a busy machine."""


@contextmanager
def served(command, environment):
    """Run a server that takes a port as its last argument; yields its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *command, str(port)], env=os.environ | environment, **quiet)
    address, latest = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health")
                break
            except OSError:
                assert process.poll() is None, "the server has ended"
                assert time.monotonic() < latest, "the server does not answer"
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The app that `python -m analysis.ui` serves: its address, its folder of studies and the store of MLflow."""
    studies = tmp_path_factory.mktemp("studies")
    store = f"sqlite:///{studies}/mlflow.db"
    environment = {"LETHE_STUDIES": str(studies), "MLFLOW_TRACKING_URI": store}
    with served(["-m", "uvicorn", "analysis.ui.app:app", "--port"], environment) as address:
        yield SimpleNamespace(address=address, studies=studies, store=MlflowClient(store))


@pytest.fixture(scope="module")
def context(server):
    """A browser that keeps the plotting library from test to test, and all that it asks of other servers."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=90_000)  # for a busy machine
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context, foreign = browser.new_context(accept_downloads=True), []
        own = (server.address, "data:", "blob:")
        context.on("request", lambda request: None if request.url.startswith(own) else foreign.append(request.url))
        yield SimpleNamespace(new_page=context.new_page, foreign=foreign)
        browser.close()


@pytest.fixture
def page(context):
    """A page that may load nothing but what is from the server, and whose scripts may not fail."""
    page, problems = context.new_page(), []
    page.set_default_timeout(90_000)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", lambda line: problems.append(f"console: {line.text}") if line.type == "error" else None)
    yield page
    page.context.set_offline(False)
    page.close()
    assert [problem for problem in problems if "ERR_INTERNET_DISCONNECTED" not in problem] == []
    assert context.foreign == []
