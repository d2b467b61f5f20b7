"""Options in a YAML file, under the names of the command line: read for --config, and written of a study."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from study.records.failure import StudyError
from study.records.options import checked, option_of
from study.records.settings import StudySettings, option_names

_APART = {"name", "studies", "resume", "explain", "verbose"}
"""Options that say which study it is and what is shown, not how it is run."""


def read_config(path: Path) -> StudySettings:
    """The settings that a file holds; an option that it lacks has its default.

    Raises:
        StudyError: it cannot be read, or holds what is no option or no value of one; with every problem.
    """
    try:
        # Plain strings only: to YAML an id like 007 is a number, and 1e-3 is none.
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) or {}
    except OSError as error:
        raise StudyError(f"--config: {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"--config: {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise StudyError(f"--config: {path} must hold options, as in `space: noisy_label`")
    fields = {option_of(name): name for name in option_names(StudySettings)}
    given = {str(option).replace("_", "-"): value for option, value in content.items()}
    problems = [f"no option {option!r}{_near(option, fields)}" for option in given if option not in fields]
    values, wrong = checked(
        StudySettings, {fields[o]: _listed(o, value) for o, value in given.items() if o in fields}
    )
    problems += [problem.removeprefix("--") for problem in wrong]
    if problems:
        raise StudyError([f"--config: {path}: {problem}" for problem in problems])
    return StudySettings(**values)


def config_of(settings: StudySettings) -> str:
    """The file with which a study of these settings can be run again: what differs from the defaults."""
    plain, defaults = settings.plain(), StudySettings().plain()
    differing = {
        option_of(name): value for name, value in plain.items() if name not in _APART and value != defaults[name]
    }
    return yaml.safe_dump(differing, sort_keys=False, allow_unicode=True)


def _listed(option: str, value: Any) -> Any:
    """An option that may be given several times may stand alone."""
    return [value] if option in ("set", "constraint") and isinstance(value, str) else value


def _near(option: str, options: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(option, options, 1)
    return f"; did you mean {near[0]}?" if near else ""
