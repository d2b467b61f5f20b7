import pytest

from study.planning.requests import read_requests
from study.records.failure import StudyError

ORDER = "subjects: [anna, bert, carla]\n"


@pytest.fixture
def written(tmp_path):
    """The path of a file of requests with this content, as the command line gives it."""

    def write(content, name="plan.yaml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def problems_of(text):
    with pytest.raises(StudyError) as caught:
        read_requests(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "requests"),
    [
        ("anna", [["anna"]]),
        ("anna/bert,carla", [["anna"], ["bert", "carla"]]),
        (" anna / bert , carla ", [["anna"], ["bert", "carla"]]),
        ("007/1e3", [["007"], ["1e3"]]),
    ],
)
def test_ids_themselves_are_requests(text, requests):
    assert read_requests(text) == requests


@pytest.mark.parametrize(
    ("content", "requests"),
    [
        ("requests:\n  - [anna]\n  - [bert, carla]\n", [["anna"], ["bert", "carla"]]),
        ("requests: [[' anna ']]", [["anna"]]),
        (ORDER, [["anna"], ["bert"], ["carla"]]),
        (ORDER + "batch_sizes: 2", [["anna", "bert"], ["carla"]]),
        (ORDER + "batch_sizes: [1, 2]", [["anna"], ["bert", "carla"]]),
        (ORDER + "batch_sizes: [3]", [["anna", "bert", "carla"]]),
    ],
)
def test_a_file_holds_requests_or_subjects_with_batch_sizes(written, content, requests):
    assert read_requests(written(content)) == requests
    assert read_requests(written(content, "plan.yml")) == requests
    assert read_requests(written(content, "plan")) == requests


def test_unquoted_ids_stay_as_they_are_written(written):
    ids = ["007", "1e3", "0x1F", "yes", "2024-01-01", "1_000", "12:30:00", "~", "null", "1.50"]
    assert read_requests(written(f"requests: [[{', '.join(ids)}]]")) == [ids]
    assert read_requests(written(f"subjects: [{', '.join(ids)}]")) == [[name] for name in ids]


def test_all_problems_of_a_list_are_told(written):
    found = problems_of(written("requests: [[anna, ''], [], [bert, anna], [' ', bert]]"))
    assert len(found) == 5
    for number in (1, 4):
        assert f"request {number} names no subject" in found
    assert "request 2 is empty" in found
    assert {"subject 'anna' asks more than once", "subject 'bert' asks more than once"} < set(found)
    assert problems_of("anna//bert,") == ["request 2 names no subject", "request 3 names no subject"]


@pytest.mark.parametrize(
    "content",
    ["", "anna", "[[anna]]", "requests: anna", "requests: [anna]", "requests: [[[anna]]]", "requests: {a: [b]}",
     "requests: [[anna]]\nsubjects: [bert]", "requests: [[anna]]\nbatch_sizes: 1", "batch_sizes: 1",
     "subjects: anna", "subjects: [[anna]]", ORDER + "sizes: 1"],
)  # fmt: skip
def test_a_file_of_another_form_is_told_what_is_expected(written, content):
    (problem,) = problems_of(written(content))
    assert "plan.yaml" in problem
    assert "`requests`" in problem
    assert "`batch_sizes`" in problem


@pytest.mark.parametrize(
    "sizes", ["0", "-1", "1.5", "two", "[1, 0]", "[1, two]", "[]", "[2]", "[2, 2]", "{1: 2}", ""]
)
def test_batch_sizes_that_fit_no_subjects_are_refused(written, sizes):
    (problem,) = problems_of(written(ORDER + f"batch_sizes: {sizes}"))
    assert "batch_sizes" in problem


def test_a_file_that_cannot_be_read_says_why(written, tmp_path):
    assert problems_of(str(tmp_path / "gone.yaml")) == [
        f"{tmp_path / 'gone.yaml'} cannot be read: No such file or directory"
    ]
    for content in ("requests: [[anna", b"requests: [[\xff]]"):
        (problem,) = problems_of(written(content))
        assert "is not YAML" in problem
        assert "\n" not in problem


def test_a_long_list_of_ids_is_no_file_name():
    """A resumed study gives all its pseudonyms at once, more than a file system lets a name have."""
    ids = [f"s-{number:010x}" for number in range(40)]
    assert read_requests(",".join(ids[:30]) + "/" + ",".join(ids[30:])) == [ids[:30], ids[30:]]
