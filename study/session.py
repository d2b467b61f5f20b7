"""One session of a study: references, trials, result; the same call continues an unfinished study."""

import json
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from analysis.figures import write_pareto
from analysis.front import best_feasible
from analysis.sequence import write_sequence
from analysis.suite import write_suite
from analysis.tables import load_study
from search_spaces.space import Space, Suite
from study.engine import run_trials
from study.evidence import gather_evidence, unknown
from study.plan import Plan, PlanError
from study.recording import Recorder
from study.records import OBJECTIVES, trials_table, write_json
from study.references import Listener, Reference, fit_digests, fit_networks, reference_fits
from study.resources import Resources, share
from study.selection import selection
from study.sequence import follow_requests
from study.summary import print_evidence, print_plan, print_result
from study.tracking import PARENT, Tracker
from study.view import StudyView
from trainables.cohorts.cache import cache_dir
from trainables.unlearning import EpochReport

_PACKAGES = ("lethe", "ray", "torch", "monai", "nibabel", "optuna", "mlflow", "pyarrow", "numpy")


def run_study(plan: Plan, console: Console) -> bool:
    """Run or continue a study and print its result.

    Returns:
        Whether the study is complete; False after Ctrl-C.

    Raises:
        PlanError: the folder's trials started from another baseline than this session's would.
    """
    settings, folder = plan.settings, plan.settings.folder
    _check_asked(plan)
    digests = fit_digests(plan, reference_fits(plan))
    _check_references(plan, digests)
    print_plan(plan, console)
    folder.mkdir(parents=True, exist_ok=True)
    ray.init(
        include_dashboard=False, log_to_driver=settings.verbose, logging_level="INFO" if settings.verbose else "ERROR"
    )
    try:
        resources = share(settings.concurrent)
        with StudyView(console) as view:
            references = _references(plan, digests, resources, view)
            description = _description(plan, references)
            write_json(folder / "study.json", description)
            tracker = Tracker(tracking_uri(plan), settings.family, settings.name, _artifacts(plan))
            objective = OBJECTIVES[settings.objective]
            sets = asdict(plan.split)
            recorder = Recorder(
                folder, plan.space.knobs, objective, settings.retain_floor, sets, tracker, plan.horizons
            )
            tracker.start(PARENT, settings.computed, _tags(description))
            for name, reference in references.items():
                recorder.reference(name, reference)
            recorder.catch_up()
            complete = run_trials(plan, references, resources, recorder, view)
            if complete and settings.evidence:
                gather_evidence(plan, references, recorder, resources, view, _listener(plan, view))
            best = best_feasible(recorder.rows, objective)
            if complete and plan.requests and best:
                follow_requests(plan, references, best, resources, view, _listener(plan, view))
        written = load_study(folder)
        write_pareto(written, folder / "pareto.html")
        if plan.horizons:
            write_suite(written, folder)
        if len(written.sequence):
            write_sequence(written, folder)
        recorder.result(best, _files(folder), complete)
        tracker.close()
    finally:
        ray.shutdown()
    if settings.evidence:
        print_evidence(plan, [*recorder.references, *recorder.rows], console)
    print_result(plan, recorder.rows, tracking_uri(plan), tracker.problem, complete, console)
    return complete


def tracking_uri(plan: Plan) -> str:
    """The MLflow store: the given one, or the database beside the studies."""
    return plan.settings.tracking_uri or f"sqlite:///{plan.settings.studies.absolute() / 'mlflow.db'}"


def _artifacts(plan: Plan) -> Path | None:
    return None if plan.settings.tracking_uri else plan.settings.studies.absolute() / "mlartifacts"


def _references(plan: Plan, digests: dict[str, str], resources: Resources, view: StudyView) -> dict[str, Reference]:
    fitted: set[str] = set()
    show = _listener(plan, view)

    def listen(name: str, report: EpochReport) -> None:
        fitted.add(name)
        show(name, report)

    references = fit_networks(plan, reference_fits(plan), digests, cache_dir(), resources, listen)
    for name, reference in references.items():
        found = reference.metrics
        view.line(
            f"{name:11}  {'fitted' if name in fitted else 'from the cache'}: retain Dice {found['retain_dice']:.3f}"
            f"  forget {found['forget_dice']:.3f}  held-out {found['heldout_dice']:.3f}"
        )
    return references


def _listener(plan: Plan, view: StudyView) -> Listener:
    """Shows the epochs of fits, a bar each."""
    bars: dict[str, Any] = {}

    def listen(name: str, report: EpochReport) -> None:
        if name not in bars:
            bars[name] = view.begin(name, plan.settings.baseline_epochs)
        bars[name](report.epoch)

    return listen


def _check_asked(plan: Plan) -> None:
    wrong = unknown(plan, trials_table(plan.settings.folder, plan.space.knobs).rows)
    if wrong:
        raise PlanError([f"--examine: study {plan.settings.name!r} has no finished trial {', '.join(wrong)}"])


def _check_references(plan: Plan, digests: dict[str, str]) -> None:
    record = plan.settings.folder / "study.json"
    if not record.exists():
        return
    stored = json.loads(record.read_text())["references"]
    if {name: reference["digest"] for name, reference in stored.items()} != digests:
        reason = "the file of --weights, or the version of torch or Lethe, has changed since"
        raise PlanError(
            [f"study {plan.settings.name!r} was started from another baseline: {reason}; choose another --name"]
        )


def _description(plan: Plan, references: dict[str, Reference]) -> dict[str, Any]:
    """What study.json holds."""
    cohort, space = plan.cohort, plan.space
    published = space.published if isinstance(space, Space) else None
    domains = space.domains if isinstance(space, Space) else {}
    suite = asdict(space) if isinstance(space, Suite) else {}
    return {
        "name": plan.settings.name,
        "space": plan.settings.space,
        "settings": {**plan.settings.plain(), "resume": ""},
        "knobs": {name: kind.__name__ for name, kind in space.knobs.items()},
        "domains": {name: repr(domain) for name, domain in domains.items()},
        "suite": suite,
        "cohort": {
            "digest": cohort.digest,
            "scans": len(cohort.images),
            "shape": list(cohort.images.shape[1:]),
            "spacing_mm": list(cohort.spacing_mm),
            "classes": list(cohort.class_names),
        },
        "split": asdict(plan.split),
        "selection": asdict(selection(plan)),
        "references": {
            name: {"digest": ref.digest, "seed": ref.seed, **ref.metrics} for name, ref in references.items()
        },
        "published": vars(published) if published else {},
        "versions": {"python": sys.version.split()[0], **{name: version(name) for name in _PACKAGES}},
        "commit": _commit(),
    }


def _tags(description: dict[str, Any]) -> dict[str, str]:
    return {
        "space": description["space"],
        "cohort": description["cohort"]["digest"],
        "mlflow.source.git.commit": description["commit"],
        **{f"version.{name}": number for name, number in description["versions"].items()},
    }


def _commit() -> str:
    """The commit of the code that runs, `unknown` outside a checkout."""
    here = Path(__file__).parent
    done = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _files(folder: Path) -> list[Path]:
    """The study's records and pages."""
    return sorted(path for kind in ("json", "parquet", "html", "md", "csv") for path in folder.glob(f"*.{kind}"))
