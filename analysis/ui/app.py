"""MLflow's server with the front's pages before its own, under its protections: `mlflow server --app-name lethe`."""

import hashlib
import json
import re
from collections.abc import Callable
from functools import lru_cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import plotly
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from mlflow import MlflowClient
from mlflow.server.fastapi_app import app

from analysis.figures.front import KIND, front_figure
from analysis.figures.front_data import axes
from analysis.ui.payload import study_payload
from study.records.failure import StudyError
from study.records.files import studies_folder
from study.records.reading import StudyData, load_study, with_history_of
from study.records.references import RETRAINED
from study.records.trials import given

_STATIC = files("analysis.ui") / "static"
_PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_KINDS = {"js": "text/javascript", "css": "text/css", "html": "text/html"}
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " script-src 'self' 'unsafe-eval'"  # plotly compiles its WebGL calls
)

_TRAINING = "workflowType=machine_learning"
"""Has MLflow's pages show runs and charts, not traces of language models."""

_TABLES = ("trials", "references", "repeats")
"""What pages show of a study, beside one reference's history."""

_QUOTED = re.compile(r"['`\\]")

router = APIRouter(prefix="/lethe")


@router.get("/", response_class=HTMLResponse)
def studies_page() -> Response:
    """The studies there are."""
    return _page("studies.html")


@router.get("/static/{name}")
def static(name: str) -> Response:
    """A file of the pages."""
    if name == "plotly.min.js":
        return FileResponse(_PLOTLY, media_type=_KINDS["js"], headers={"Cache-Control": "max-age=86400"})
    file, kind = _STATIC / name, name.rpartition(".")[2]
    if not file.is_file() or kind not in _KINDS:
        raise HTTPException(404)
    return Response(file.read_bytes(), media_type=_KINDS[kind])


@router.get("/api/studies")
def studies() -> list[dict[str, object]]:
    """The studies, newest first, with what a list shows."""
    records = sorted(studies_folder().glob("*/study.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [_summary(path.parent) for path in records]


@router.get("/api/studies/{name}")
def study(name: str, request: Request) -> Response:
    """A study's trials, as `study_payload` has them; 304 if nothing has changed."""
    folder = _folder(name)
    state = _state(folder)
    return _unless_known(request, state, lambda: _payload(folder, state))


@router.get("/api/studies/{name}/figure")
def figure(
    name: str,
    request: Request,
    x: str = "",
    y: str = "",
    colour: str = KIND,
    beside: Annotated[tuple[str, ...], Query()] = (),
) -> Response:
    """The front as plotly draws it, as `front_figure` makes it; 304 if nothing has changed."""
    folders = tuple(map(_folder, (name, *beside)))
    states = tuple(map(_state, folders))
    return _unless_known(request, _digest(states, x, y, colour), lambda: _figure(folders, states, x, y, colour))


@router.get("/api/studies/{name}/trials.{kind}")
def table(name: str, kind: str) -> Response:
    """The trial table as CSV or Parquet."""
    folder = _folder(name)
    trials = _study(folder, _state(folder)).trials
    write = {"csv": lambda: trials.to_csv(index=False).encode(), "parquet": trials.to_parquet}.get(kind)
    if write is None:
        raise HTTPException(404)
    return Response(write(), headers={"Content-Disposition": f'attachment; filename="{name}.{kind}"'})


@router.get("/api/studies/{name}/importance")
def importance(name: str) -> Response:
    """The share of each knob in what tells the best tenth of the trials from the others."""
    folder = _folder(name)
    return Response(_importance(folder, _state(folder)), media_type="application/json")


@router.get("/api/studies/{name}/runs/{trial}")
def run(name: str, trial: str) -> Response:
    """To a trial's run in MLflow's own pages."""
    _folder(name)
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    if _QUOTED.search(name + trial):
        raise HTTPException(404)
    runs = client.search_runs(experiments, f"tags.`study` = '{name}' and tags.`name` = '{trial}'", max_results=1)
    if not runs:
        raise HTTPException(404, f"MLflow has no run of trial {trial!r}; python -m study.sync {name} sends it")
    return RedirectResponse(f"/#/experiments/{runs[0].info.experiment_id}/runs/{runs[0].info.run_id}?{_TRAINING}")


@router.get("/api/studies/{name}/pictures/{trial}/{file}")
def picture(name: str, trial: str, file: str) -> Response:
    """A file that study.pictures has written."""
    path = _folder(name) / "pictures" / trial / file
    if ".." in (trial, file) or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path)


@router.get("/{name}", response_class=HTMLResponse)
def front_page(name: str) -> Response:
    """The front of one study."""
    _folder(name)
    return _page("front.html")


@lru_cache(8)
def _study(folder: Path, state: str) -> StudyData:
    try:
        return with_history_of(load_study(folder, _TABLES), folder, RETRAINED)
    except StudyError as error:
        raise HTTPException(500, str(error)) from error


@lru_cache(8)
def _payload(folder: Path, state: str) -> bytes:
    return json.dumps(study_payload(_study(folder, state), folder)).encode()


@lru_cache(32)
def _figure(folders: tuple[Path, ...], states: tuple[str, ...], x: str, y: str, colour: str) -> bytes:
    study, *beside = map(_study, folders, states)
    if {x, y} - {"", *axes(study)} or colour not in (KIND, "strategy", *study.knobs):
        raise HTTPException(404, f"no such axis or colour: {escape(f'{x!r}, {y!r}, {colour!r}')}")
    return front_figure(study, x, y, colour, beside).to_json(validate=False).encode()


@lru_cache(8)
def _importance(folder: Path, state: str) -> bytes:
    from analysis.statistics.knobs import PED_ANOVA, importance  # Optuna takes a moment to import

    return json.dumps(importance(_study(folder, state), PED_ANOVA)).encode()


def _unless_known(request: Request, state: str, content: Callable[[], bytes]) -> Response:
    """JSON with its state as the ETag; without the content if the browser has that state."""
    headers = {"ETag": state, "Cache-Control": "no-cache"}  # a browser asks whether what it has is the newest
    if request.headers.get("if-none-match") == state:
        return Response(status_code=304, headers=headers)
    return Response(content(), media_type="application/json", headers=headers)


def _summary(folder: Path) -> dict[str, object]:
    """A study's row in the list; a damaged one says so."""
    try:
        study = load_study(folder, ("trials",))
    except StudyError as error:
        return {"name": folder.name, "problem": str(error)}
    trials = study.trials
    best = trials[trials["feasible"]]["dice_gap"].max()
    return {
        "name": folder.name,
        "space": study.space,
        "cohort": study.settings.cohort.partition(":")[0],
        "trials": len(trials),
        "running": int((trials["status"] == "running").sum()),
        "front": int(trials["on_front"].sum()),
        "best_gap": float(best) if given(best) else None,
    }


def _page(name: str) -> Response:
    return HTMLResponse((_STATIC / name).read_bytes(), headers={"Content-Security-Policy": _POLICY})


def _folder(name: str) -> Path:
    folder = studies_folder() / name
    if folder.parent != studies_folder() or not (folder / "study.json").is_file():
        raise HTTPException(404, f"no study {escape(name)!r} in {studies_folder().name}")
    return folder


def _state(folder: Path) -> str:
    """Changes whenever what the page shows of a study does."""
    tables = [file for table in _TABLES for file in sorted((folder / table).glob("*"))]
    files = [folder / "study.json", *tables, *sorted(folder.glob("pictures/*/index.html"))]
    return _digest(*((file.name, (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files if file.exists()))


def _digest(*parts: object) -> str:
    return f'"{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"'


app.router.routes[0:0] = router.routes
