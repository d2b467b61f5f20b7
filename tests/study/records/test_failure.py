import pytest

from study.records.failure import BAD_INPUT, FAILED, HaltedError, StudyError, fail


@pytest.mark.parametrize(("told", "code"), [({}, 2), ({"code": FAILED}, 1), ({"code": BAD_INPUT}, 2)])
def test_problems_are_lines_on_standard_error_and_the_exit_code_comes_back(told, code, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    problems = ["--space: [bold]no[/bold] such [/x] space", "a line much longer than the terminal is wide " * 3]
    assert fail(*problems, **told) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.rstrip() for line in said.err.splitlines()] == [f"error: {line}".rstrip() for line in problems]


def test_no_problem_says_nothing(capsys):
    assert fail() == 2
    assert capsys.readouterr().err == ""


def test_an_error_carries_its_problems_and_the_commands_exit_code():
    assert (StudyError("one").problems, str(StudyError(["one", "two"]))) == (["one"], "one\ntwo")
    assert (StudyError("").code, HaltedError("").code) == (BAD_INPUT, FAILED)
