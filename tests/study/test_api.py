import threading
from dataclasses import replace

import pytest

from study.api import StudyError, StudySettings, open_study, run
from study.terminal.interrupts import Interrupts


def test_an_opened_study_is_its_tables_and_what_follows_from_them(done):
    result = open_study("s", done.studies)
    assert result.complete
    assert set(result.trials["id"]) == {done.front, done.other}
    assert result.front["id"].tolist() == [done.front]
    assert result.best["id"] == done.front
    assert result.knee is None  # of a front of one
    recorded = done.record["references"]
    assert result.references.index.tolist() == list(recorded)
    assert result.references.loc["retrained", "forget_dice"] == recorded["retrained"]["forget_dice"]
    assert (result.settings.folder, result.settings.trials) == (done.folder, 2)


def test_a_study_that_is_not_there_is_an_error_that_lists_those_that_are(done):
    with pytest.raises(StudyError, match="there are s"):
        open_study("t", str(done.studies))


def test_wrong_settings_are_one_error_with_every_problem(tmp_path):
    with pytest.raises(StudyError) as raised:
        run(StudySettings(space="noisy_label", trials="many", retain_floor=2, studies=str(tmp_path)))
    assert [problem.split()[0] for problem in raised.value.problems] == ["--retain-floor", "--trials"]


@pytest.mark.parametrize("change", [{"resume": "s"}, {"explain": True}, {"address": "ray://head:10001"}])
def test_what_only_a_terminal_can_do_is_refused(change):
    with pytest.raises(StudyError, match=next(iter(change))):
        run(replace(StudySettings(space="noisy_label"), **change))


def test_signals_are_left_alone_in_a_thread():
    """Where none may be caught."""
    errors = []

    def enter():
        try:
            with Interrupts() as interrupts:
                interrupts.listen()
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == []
