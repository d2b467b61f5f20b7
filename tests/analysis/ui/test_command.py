"""`python -m analysis.ui`: MLflow's own server with the pages before it."""

import urllib.request

import pytest

from analysis.ui.__main__ import main


def test_the_command_serves_the_pages_and_mlflow_from_one_address(start_server, folder, rows):
    studies = folder(*rows).parent
    with start_server(["-m", "analysis.ui", "--studies", str(studies), "--port"], {}) as address:
        listed = urllib.request.urlopen(f"{address}/lethe/api/studies").read()
        stock = urllib.request.urlopen(f"{address}/").read()
    assert b'"name":"study"' in listed
    assert b"MLflow" in stock
    assert (studies / "mlflow.db").is_file()


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
