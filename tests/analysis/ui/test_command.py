"""What `python -m analysis.ui` refuses; that it serves is tested with the command `lethe ui`."""

import pytest

from analysis.ui.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--studies", "nowhere"], "no such folder nowhere"),
        (["--studies", ".", "--tracking-uri", "http://host:5000"], "name the database of the MLflow server"),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(arguments, problem, capsys):
    assert main(arguments) == 2
    assert problem in capsys.readouterr().err
