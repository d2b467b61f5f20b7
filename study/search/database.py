"""The Optuna study behind a search: in this process's memory, or in a database that other tools can open."""

from collections.abc import Collection

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from study.records.failure import StudyError
from study.records.objectives import Objective

ID, REPEATS = "id", "repeats"
"""User attributes of an Optuna trial: the id of the study's trial that it is, or whose result it repeats."""


def open_study(storage: str | None, name: str, objective: Objective, known: Collection[str]) -> Study:
    """The Optuna study, new or as an earlier session left it. What that session left open is told as failed.

    Args:
        storage: URL of the database; None for this process's memory.
        name: of the study in it.
        objective: what the study optimises.
        known: ids of all trials that the records hold.

    Raises:
        StudyError: the database cannot be opened, or holds another study by this name.
    """
    sides = {1: StudyDirection.MAXIMIZE, -1: StudyDirection.MINIMIZE}
    directions = [sides[goal.sign] for goal in objective.goals]
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        trials = study.get_trials(deepcopy=False)
    except Exception as error:  # every database has errors of its own
        raise StudyError(f"--optuna-storage: {type(error).__name__}: {error}".partition("\n")[0]) from error
    if study.directions != directions:
        raise StudyError(f"--optuna-storage: its study {name!r} has another objective; choose another --name")
    strangers = [trial for trial in trials if trial.state.is_finished() and not _recorded(trial, known)]
    if strangers:
        raise StudyError(
            f"--optuna-storage: its study {name!r} has {len(strangers)} trials that this study's records lack;"
            " choose another --name"
        )
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    for trial in trials:
        if trial.state == TrialState.WAITING:
            study.tell(study.ask(), state=TrialState.FAIL)  # asks for one that waits, as long as any does
    return study


def _recorded(trial: FrozenTrial, known: Collection[str]) -> bool:
    """Whether the records hold what a finished Optuna trial tells; one that failed tells nothing."""
    attributes = trial.user_attrs
    return attributes.get(ID, attributes.get(REPEATS)) in known or trial.state == TrialState.FAIL
