"""Deletion requests: the subjects to forget in the order in which they ask for it."""

from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from study.records.failure import StudyError


def read_requests(text: str) -> list[list[str]]:
    """The subjects of each request.

    Args:
        text: path of a YAML file, or the ids themselves: `one/two,three` are two requests. The file holds
            `requests` (a list of lists of ids), or `subjects` (ids in their order) with `batch_sizes` (how many
            ask at once, one number for all or one for each request; default 1).

    Raises:
        StudyError: with all problems of the list itself; whether the subjects exist is for the split to say.
    """
    path = Path(text)
    looks_like_file = path.suffix in (".yaml", ".yml") or _is_file(path)
    requests = _from_file(path) if looks_like_file else [part.split(",") for part in text.split("/")]
    requests = [[name.strip() for name in request] for request in requests]
    problems = [
        f"request {number} names no subject" for number, request in enumerate(requests, 1) if not all(request)
    ]
    problems += [f"request {number} is empty" for number, request in enumerate(requests, 1) if not request]
    twice = [name for name, count in Counter(name for request in requests for name in request).items() if count > 1]
    problems += [f"subject {name!r} asks more than once" for name in twice if name]
    if problems:
        raise StudyError(problems)
    return requests


def _is_file(path: Path) -> bool:
    """Whether there is such a file; a long list of ids is no name that a file could have."""
    try:
        return path.is_file()
    except OSError:
        return False


def _from_file(path: Path) -> list[list[str]]:
    try:
        # plain strings only, as an unquoted id like 007 is no number
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except OSError as error:
        raise StudyError([f"{path} cannot be read: {error.strerror}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError([f"{path} is not YAML: {' '.join(str(error).split())}"]) from error
    keys = set(content) if isinstance(content, dict) else set()
    if keys == {"requests"} and _lists(content["requests"]):
        return content["requests"]
    if "subjects" in keys <= {"subjects", "batch_sizes"} and _words(content["subjects"]):
        return _batches(content["subjects"], content.get("batch_sizes", "1"), path)
    raise StudyError(
        [f"{path} must hold `requests` (a list of lists of ids), or `subjects` (a list of ids) and `batch_sizes`"]
    )


def _batches(subjects: list[str], given: Any, path: Path) -> list[list[str]]:
    sizes = [int(size) for size in ([given] if isinstance(given, str) else given) if str(size).isdecimal()]
    if len(sizes) != (1 if isinstance(given, str) else len(given)) or not all(sizes):
        raise StudyError([f"{path}: batch_sizes must be a number above 0 or a list of them, but is {given!r}"])
    if isinstance(given, str):
        return [subjects[start : start + sizes[0]] for start in range(0, len(subjects), sizes[0])]
    if sum(sizes) != len(subjects):
        raise StudyError([f"{path}: batch_sizes add up to {sum(sizes)}, but there are {len(subjects)} subjects"])
    ends = accumulate(sizes)
    return [subjects[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def _lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(request, list) and _words(request) for request in value)


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)
