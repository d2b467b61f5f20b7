"""What keeps a command from its work: one kind of error, how it is printed, and the exit codes."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

BAD_INPUT, FAILED = 2, 1
"""Exit codes; after a signal it is 128 + the signal's number."""


class StudyError(Exception):
    """What a user can mend: wrong options, a damaged record, a cluster that is not there.

    Attributes:
        problems: every problem, a line each where nothing is pointed at.
        code: what the command exits with.
    """

    code = BAD_INPUT

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class HaltedError(StudyError):
    """A study that has begun and cannot go on; what it has is on disk."""

    code = FAILED


def fail(*problems: str, code: int = BAD_INPUT) -> int:
    """Print problems, one line each, to standard error; returns the exit code."""
    errors = Console(stderr=True)
    for problem in problems:
        errors.print(f"[bold red]error:[/bold red] {escape(problem)}", highlight=False, soft_wrap=True)
    return code
