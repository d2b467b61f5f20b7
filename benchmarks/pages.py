"""What the pages cost: the server's start with and without them, a page's time, the browser's first paint.

`python benchmarks/pages.py [--trials 1000 5000] [--starts 7] [--screenshots DIR]` needs Chromium.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from optuna.distributions import distribution_to_json
from replay import SPACE, Replay, row_of

from search_spaces import noisy_label
from study.records.constraints import Constraint
from study.records.front import mark
from study.records.objectives import OBJECTIVES
from study.records.settings import StudySettings
from study.records.study_record import (
    CohortRecord,
    Recipes,
    ReferenceRecord,
    Selection,
    SplitRecord,
    StudyRecord,
)
from study.records.tables import history_table, trials_table

STARTED = """import time; t = time.perf_counter()
import mlflow.server.fastapi_app
a = time.perf_counter()
import analysis.ui.app
print(a - t, time.perf_counter() - a)"""

PLACES = """() => {
  const plot = document.getElementById("front"), box = plot.getBoundingClientRect();
  const trials = plot.data.findLast((trace) => trace.customdata);
  const { xaxis, yaxis } = plot._fullLayout;
  return [0, 1, 2, 3, 4].map((i) => [
    box.x + xaxis._offset + xaxis.l2p(trials.x[i]), box.y + yaxis._offset + yaxis.l2p(trials.y[i])]);
}"""


def replayed_study(folder: Path, trials: int) -> None:
    """A study of replayed trials, without a search."""
    rng, replay = np.random.default_rng(0), Replay()
    knobs, rows, epochs = SPACE.knobs, [], []
    for number in range(trials):
        drawn = {
            "noise_rate": float(rng.uniform(0.6, 1)),
            "lr": float(10 ** rng.uniform(-4, -2.53)),
            "forget_weight": float(10 ** rng.uniform(-1, 0.3)),
            "epochs": int(rng.integers(5, 21)),
        }
        reports = replay.epochs(drawn)
        rows.append(row_of(f"{number:012x}", drawn, reports))
        epochs += [{"id": rows[-1].id, **report} for report in reports]
    rows = mark(rows, [Constraint("retention", ">=", 0.9)], OBJECTIVES["gap"])
    known = ("retain_dice", "forget_dice", "heldout_dice")
    references = {"baseline": (0.9168, 0.9198, 0.761), "retrained": (0.9126, 0.6838, 0.752)}
    record = StudyRecord(
        name=folder.name,
        space="noisy_label",
        planned=trials,
        settings=StudySettings(space="noisy_label", trials=trials, cohort="decathlon:Hippocampus"),
        knobs=knobs,
        domains={name: json.loads(distribution_to_json(domain)) for name, domain in SPACE.domains.items()},
        constraints=(Constraint("retention", ">=", 0.9),),
        references={
            name: ReferenceRecord(name[0], 0, dict(zip(known, values, strict=True)))
            for name, values in references.items()
        },
        suite=Recipes(),
        selection=Selection((), ("retrained",), (), ("h",), ()),
        split=SplitRecord(("r",), ("f",), ("h",)),
        cohort=CohortRecord("c", 3, (40, 56, 40), (1.0, 1.0, 1.0), ("background", "anterior", "posterior")),
        published=noisy_label.SPACE.published,
        versions={},
        commit="",
    )
    folder.mkdir(parents=True)
    record.write(folder)
    for table, content in (
        (trials_table(folder, knobs), [row.flat() for row in rows]),
        (history_table(folder), epochs),
    ):
        table.upsert(content)
        table.merge()


@contextmanager
def server(studies: Path):
    """`python -m analysis.ui` on a free port; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "analysis.ui", "--studies", str(studies), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def import_times(starts: int) -> None:
    """What importing the pages adds to what MLflow's server imports anyway."""
    found = []
    for _ in range(starts + 1):
        done = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True)
        found.append([float(word) for word in done.stdout.split()])
    plain, added = (statistics.median(times) for times in zip(*found[1:], strict=True))
    print(f"start: MLflow's server imports for {plain:.2f} s, the pages add {1000 * added:.0f} ms")


def milliseconds(url: str) -> float:
    """Of one request."""
    began = time.perf_counter()
    urllib.request.urlopen(url).read()
    return 1000 * (time.perf_counter() - began)


def page_times(address: str, studies: Path, name: str) -> None:
    """Requests of one page: as nothing has changed, and as every one finds the study changed."""
    urls = {"page": f"{address}/lethe/{name}", "its data": f"{address}/lethe/api/studies/{name}"}
    urls["its figure"] = f"{urls['its data']}/figure"
    milliseconds(urls["its figure"])
    for title, url in urls.items():
        warm = statistics.median(milliseconds(url) for _ in range(20))
        changed = []
        for _ in range(10):
            os.utime(studies / name / "study.json")
            changed.append(milliseconds(url))
        print(f"{name}: {title} {warm:.1f} ms, after a change {statistics.median(changed):.1f} ms")


def in_the_browser(address: str, name: str, screenshots: Path | None) -> None:
    """First paint of the front, and from the pointer's move to the hover label."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    arguments = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        paints, hovers = [], []
        for _ in range(5):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            began = time.perf_counter()
            page.goto(f"{address}/lethe/{name}")
            page.wait_for_selector("#front .legend .traces")
            paints.append(time.perf_counter() - began)
            page.wait_for_timeout(500)
            for place in page.evaluate(PLACES):
                began = time.perf_counter()
                page.mouse.move(*place)
                page.wait_for_selector("#front .hoverlayer .hovertext")
                hovers.append(time.perf_counter() - began)
                page.mouse.move(5, 5)
                page.wait_for_selector("#front .hoverlayer .hovertext", state="detached")
            page.close()
        paint, hover = statistics.median(paints), 1000 * statistics.median(hovers)
        print(f"{name}: first paint of the front after {paint:.2f} s, hover label after {hover:.0f} ms")
        if screenshots:
            for scheme in ("light", "dark"):
                page = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme=scheme)
                page.goto(f"{address}/lethe/{name}")
                page.wait_for_selector("#importance .bars, #importance .barlayer")
                page.wait_for_timeout(1500)
                page.screenshot(path=screenshots / f"front-{scheme}.png")
                page.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--screenshots", type=Path)
    given = parser.parse_args()
    import_times(given.starts)
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder)
        for trials in given.trials:
            replayed_study(studies / f"replayed-{trials}", trials)
        with server(studies) as address:
            for trials in given.trials:
                page_times(address, studies, f"replayed-{trials}")
            for trials in given.trials:
                in_the_browser(address, f"replayed-{trials}", given.screenshots)


if __name__ == "__main__":
    main()
