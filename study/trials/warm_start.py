"""Trials of an earlier study, as a new one's search may learn from them."""

from typing import Any

from search_spaces.space import Space
from study.planning.plan import Plan
from study.records.failure import StudyError
from study.records.study_record import read_record
from study.records.tables import study_tables
from study.records.trials import FAILED, RUNNING


def earlier_trials(plan: Plan) -> list[dict[str, Any]]:
    """The ended trials of --warm-start whose configuration lies in this plan's space.

    Raises:
        StudyError: that study is of another space or cohort, or its records cannot be read.
    """
    space, settings = plan.space, plan.settings
    assert isinstance(space, Space)
    folder = settings.studies / settings.warm_start
    try:
        study = read_record(folder)
        rows = study_tables(folder, study)["trials"].rows
    except StudyError as error:
        raise StudyError([f"--warm-start: {problem}" for problem in error.problems]) from error
    if (study.space, study.cohort.digest) != (settings.space, plan.cohort.digest):
        what = "space" if study.space != settings.space else "cohort"
        raise StudyError([f"--warm-start: study {settings.warm_start!r} is of another {what}"])
    others = [name for name in study.knobs if name not in space.knobs]
    return [
        row
        for row in rows
        if row["status"] not in (RUNNING, FAILED)
        and space.contains(row)
        and all(row.get(name) == value for name, value in space.fixed.items())
        and all(row[name] is None for name in others)
    ]
