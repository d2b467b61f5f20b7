"""Two studies side by side: what differs in their settings, and what came out."""

from collections.abc import Iterator, Mapping
from typing import Any

from analysis import numbers
from analysis.reports.terminal_tables import verdict
from analysis.statistics.attainment import feasible_points
from analysis.statistics.hypervolume import hypervolume
from study.records.front import best_feasible
from study.records.metrics import shown
from study.records.reading import StudyData
from study.records.trials import given

_NEVER_EQUAL = {"name", "studies", "resume"}


def differences(first: StudyData, second: StudyData) -> list[tuple[str, str, str]]:
    """What differs in settings, space, cohort, split, references, versions and commit: name and the two values."""
    flat = dict(_flat(first.record)), dict(_flat(second.record))
    names = dict.fromkeys([*flat[0], *flat[1]])
    values = [(name, flat[0].get(name, numbers.MISSING), flat[1].get(name, numbers.MISSING)) for name in names]
    return [(name, mine, other) for name, mine, other in values if mine != other]


def outcomes(first: StudyData, second: StudyData) -> list[tuple[str, str, str]]:
    """What came out, with the values of both."""
    mine, other = _outcome(first), _outcome(second)
    return [(name, mine[name], other[name]) for name in mine]


def _flat(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in record["settings"].items():
        if name not in _NEVER_EQUAL:
            yield name.replace("_", " "), str(value)
    for name, domain in record["domains"].items():
        yield f"domain of {name}", str(domain["attributes"])
    yield "cohort hash", record["cohort"]["digest"]
    for name in ("retain", "forget", "heldout", "steering"):
        yield f"{name} subjects", " ".join(sorted(record["split"][name]))
    for name, reference in record["references"].items():
        yield f"{name} hash", reference["digest"]
    for name, number in record["versions"].items():
        yield f"version of {name}", number
    yield "commit", record["commit"]


def _outcome(study: StudyData) -> dict[str, str]:
    trials, points = study.trials, feasible_points(study)
    best = best_feasible(trials.to_dict("records"), study.objective)
    return {
        "trials": f"{len(trials)}, {trials['feasible'].sum()} of them feasible",
        "trial-seconds": f"{trials['seconds'].sum():.0f}",
        "on the front": str(trials["on_front"].sum()),
        "hypervolume": numbers.metric(hypervolume(points[:, 1], points[:, 0])),
        "best trial": best["id"] if best else numbers.MISSING,
        "strategy": best["strategy"] if best else numbers.MISSING,
        "recipe": _recipe(study, best) if best else numbers.MISSING,
        **{name.replace("_", " "): numbers.metric(best[name] if best else None) for name in shown(study.metrics)},
        "evidence": verdict(best) if best and given(best["evidence"]) else numbers.MISSING,
    }


def _recipe(study: StudyData, row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={numbers.knob(row[name])}" for name in study.knobs if given(row[name]))
